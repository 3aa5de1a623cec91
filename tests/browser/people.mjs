// What people do on the pages, in a real Chromium, against a real `kavach dev`: `node people.mjs BINARY [PART OF A NAME]`.
import './whole.mjs';
import './door.mjs';
import './factors.mjs';
import './everybody.mjs';
import './clients.mjs';
import './connections.mjs';
import { launch, runAll, serve } from './harness.mjs';

const server = await serve(process.argv[2]);
const browser = await launch();
const paths = (await (await fetch(`${server.url}/openapi.json`)).json()).paths;
let good = false;
try {
  good = await runAll({ server, browser, has: (path) => path in paths }, process.argv[3] ?? '');
} finally {
  await browser.close();
  await server.end();
}
process.exit(good ? 0 : 1);
