// Drives real OAuth clients against a real server: `node all.mjs BINARY [PART OF A NAME]`.
import { dirname, join } from 'node:path';

import { runAll } from '../shared/runner.mjs';
import { serve } from '../shared/server.mjs';
import { Human } from './standin.mjs';
import { World } from './world.mjs';
import './conformance.mjs';
import './openid.mjs';
import './rmcp.mjs';
import './sdk.mjs';

const [binary, part = ''] = process.argv.slice(2);
const server = await serve(binary);
let fine = false;
try {
  const human = new Human(server.url);
  await human.signUp();
  fine = await runAll(new World(server, human, join(dirname(binary), 'examples')), part);
} finally {
  await server.end();
}
process.exit(fine ? 0 : 1);
