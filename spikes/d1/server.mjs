// Serves the Worker with D1 databases `db0`, `db1`, ... on loopback: `node server.mjs <count> [directory]`. Prints its
// address, and ends when its standard input does, so that it never outlives who started it.

import { Miniflare } from "miniflare";
import path from "node:path";

const [count, directory] = process.argv.slice(2);
const names = Array.from({ length: Number(count) }, (_, number) => `db${number}`);
const miniflare = new Miniflare({
  host: "127.0.0.1",
  port: 0,
  modules: true,
  scriptPath: path.join(import.meta.dirname, "worker.mjs"),
  compatibilityDate: "2026-07-01",
  d1Databases: Object.fromEntries(names.map((name) => [name, name])),
  d1Persist: directory,
});

console.log((await miniflare.ready).toString());
process.stdin.resume();
process.stdin.on("end", async () => {
  await miniflare.dispose();
  process.exit(0);
});
