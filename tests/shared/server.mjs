// A server of its own.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const STARTS_WITHIN_MS = 60_000;

export async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

// `kavach dev` on a database of its own.
export async function serve(binary, more = {}) {
  const home = mkdtempSync(join(tmpdir(), 'kavach-test-'));
  const port = await freePort();
  const url = `http://localhost:${port}`;
  const child = spawn(binary, ['dev', '--database', join(home, 'kavach.db'), '--listen', `127.0.0.1:${port}`], {
    cwd: home,
    env: { ...process.env, KAVACH_ISSUER: url, ...more },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { log += text; });
  const until = Date.now() + STARTS_WITHIN_MS;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the server ended:\n${log}`);
    if (await fetch(`${url}/healthz`).then((answer) => answer.ok, () => false)) break;
    if (Date.now() > until) throw new Error(`the server does not answer:\n${log}`);
    await new Promise((done) => setTimeout(done, 100));
  }
  return {
    url,
    log: () => log,
    operator: () => readFileSync(join(home, 'kavach.dev-key'), 'utf8').trim(),
    async end() {
      child.kill('SIGTERM');
      await new Promise((done) => (child.exitCode === null ? child.on('exit', done) : done()));
      rmSync(home, { recursive: true, force: true });
    },
  };
}
