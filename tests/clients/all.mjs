// Drives real OAuth clients against a real server: `node all.mjs BINARY [PART OF A NAME]`.
import { dirname, join } from 'node:path';

import { runAll } from '../shared/runner.mjs';
import { postgres, serveOn } from '../shared/server.mjs';
import { mailbox } from './mail.mjs';
import { Human } from './standin.mjs';
import { AUTHORITY, World } from './world.mjs';
import './conformance.mjs';
import './openid.mjs';
import './rmcp.mjs';
import './sdk.mjs';

const [binary, part = ''] = process.argv.slice(2);
const examples = join(dirname(binary), 'examples');
// Clients register themselves, and their documents are on this machine, with certificates of an authority of our own.
const OPEN = { KAVACH_OAUTH_REGISTRATION: 'open', KAVACH_FETCH_LOOPBACK: 'allow', KAVACH_FETCH_CA_FILE: AUTHORITY };

async function drive(database) {
  const mail = await mailbox();
  const server = await serveOn(binary, database, { ...OPEN, ...mail.settings });
  try {
    const human = new Human(server.url, mail);
    const world = new World(server, human, examples);
    await human.signUp();
    return await runAll(world, part);
  } finally {
    await server.end();
    mail.end();
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
