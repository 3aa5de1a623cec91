// A server of its own.
import { execFileSync, spawn } from 'node:child_process';
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
  const server = await started(binary, 'dev', { home, database: join(home, 'kavach.db'), more });
  return { ...server, operator: () => readFileSync(join(home, 'kavach.dev-key'), 'utf8').trim() };
}

// `kavach serve` on this database, or on a file of its own.
export async function serveOn(binary, database, more = {}) {
  const home = mkdtempSync(join(tmpdir(), 'kavach-test-'));
  const place = database ?? join(home, 'kavach.db');
  const made = execFileSync(binary, ['init', '--database', place], { cwd: home, encoding: 'utf8' });
  const [key] = /kv_key_\w+/.exec(made);
  const server = await started(binary, 'serve', { home, database: place, more });
  return { ...server, operator: () => key };
}

async function started(binary, command, { home, database, more }) {
  const port = await freePort();
  const url = `http://localhost:${port}`;
  const child = spawn(binary, [command, '--database', database, '--listen', `127.0.0.1:${port}`], {
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
    pid: child.pid,
    log: () => log,
    async end() {
      child.kill('SIGTERM');
      await new Promise((done) => (child.exitCode === null ? child.on('exit', done) : done()));
      rmSync(home, { recursive: true, force: true });
    },
  };
}

// An empty database in a cluster of its own, where PostgreSQL is installed.
export async function postgres(program) {
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((done) => { child.on('exit', done); });
  const said = new Promise((done) => { child.stdout.once('data', (text) => done(`${text}`.trim())); });
  const url = await Promise.race([said, ended.then(() => undefined)]);
  return url && {
    url,
    async end() {
      child.stdin.end();
      await ended;
    },
  };
}
