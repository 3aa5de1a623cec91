// A server of its own, a browser, and tests that are counted as cargo counts its own.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

export const PHONE = { width: 390, height: 844 };
export const WIDE = { width: 1280, height: 900 };
const STARTS_WITHIN_MS = 60_000;

async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

// `kavach dev` on a database of its own.
export async function serve(binary) {
  const home = mkdtempSync(join(tmpdir(), 'kavach-browser-'));
  const port = await freePort();
  const url = `http://localhost:${port}`;
  const child = spawn(binary, ['dev', '--database', join(home, 'kavach.db'), '--listen', `127.0.0.1:${port}`], {
    cwd: home,
    env: { ...process.env, KAVACH_ISSUER: url },
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

export function launch() {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  const ours = ['--host-resolver-rules=MAP localhost 127.0.0.1'];
  // Chromium has no sandbox of its own where everything runs as root, as in containers.
  if (process.getuid?.() === 0) ours.push('--no-sandbox');
  return chromium.launch({ executablePath, args: ours });
}

// A window, with what the browser complains about.
export async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: WIDE, ...options });
  const page = await context.newPage();
  const complaints = [];
  page.on('console', (message) => {
    if (/Content Security Policy|Trusted ?Type|Permissions policy/i.test(message.text())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(`${error}`));
  page.on('dialog', (dialog) => { complaints.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
  return { context, page, complaints };
}

const tests = [];

export function test(name, run) {
  tests.push({ name, run });
}

export class Skipped extends Error {}

export async function runAll(world, part) {
  let passed = 0;
  let failed = 0;
  for (const { name, run } of tests.filter((one) => one.name.includes(part))) {
    try {
      await run(world);
      passed += 1;
      console.log(`test ${name} ... ok`);
    } catch (error) {
      if (error instanceof Skipped) {
        passed += 1;
        console.log(`skipped: ${name}: ${error.message}`);
        continue;
      }
      failed += 1;
      console.log(`test ${name} ... FAILED\n${error.stack}`);
    }
  }
  console.log(`test result: ${failed ? 'FAILED' : 'ok'}. ${passed} passed; ${failed} failed;`);
  return failed === 0;
}
