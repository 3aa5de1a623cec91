// Drives real OAuth clients against a real server: `node all.mjs BINARY [PART OF A NAME]`.
import { dirname, join } from 'node:path';

import { runAll } from '../shared/runner.mjs';
import { postgres, serveOn } from '../shared/server.mjs';
import { Human } from './standin.mjs';
import { World } from './world.mjs';
import './conformance.mjs';
import './openid.mjs';
import './rmcp.mjs';
import './sdk.mjs';

const [binary, part = ''] = process.argv.slice(2);
const examples = join(dirname(binary), 'examples');
// Clients register themselves, and their documents are on this machine.
const OPEN = { KAVACH_OAUTH_REGISTRATION: 'open', KAVACH_FETCH_LOOPBACK: 'allow' };

async function drive(database) {
  const server = await serveOn(binary, database, OPEN);
  try {
    const human = new Human(server.url);
    const world = new World(server, human, examples);
    await human.admit(world);
    return await runAll(world, part);
  } finally {
    await server.end();
  }
}

console.log('on SQLite');
let fine = await drive();
const cluster = await postgres(join(examples, 'postgres'));
if (cluster) {
  console.log('on PostgreSQL');
  fine = (await drive(cluster.url)) && fine;
  await cluster.end();
} else {
  console.log('skipped: OAuth clients on PostgreSQL: it is not installed');
}
process.exit(fine ? 0 : 1);
