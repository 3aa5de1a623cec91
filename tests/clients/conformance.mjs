// The authorization suite of the Model Context Protocol's own conformance tool. It ends well also where it only warns or
// skips, so each check is looked at.
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';

import { test } from '../shared/runner.mjs';
import { freePort } from '../shared/server.mjs';

const CHECKS = ['authorization-server-metadata', 'authorization-server-metadata-cimd', 'authorization-code-grant'];
const TOOL = join(dirname(createRequire(import.meta.url).resolve('@modelcontextprotocol/conformance/package.json')), 'dist/index.js');

async function run(world, resource) {
  const port = await freePort();
  const { id } = await world.client();
  const out = mkdtempSync(join(tmpdir(), 'kavach-conformance-'));
  const options = ['--url', world.url, '--client-id', id, '--port', `${port}`, '--output-dir', out];
  if (resource) options.push('--resource', resource);
  const child = spawn(process.execPath, [TOOL, 'authorization', ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((done) => { child.on('close', done); });
  let asked;
  let log = '';
  for await (const line of createInterface({ input: child.stdout })) {
    log += `${line}\n`;
    if (/^https?:\/\/\S+[?&]response_type=code&/.test(line)) asked = line;
    // It prints the address before it listens.
    if (asked && line.startsWith('Callback server started')) {
      world.human.leave();
      const back = await world.human.authorize(asked);
      await fetch(back);
      asked = undefined;
    }
  }
  const code = await ended;
  const checks = new Map();
  for (const part of readdirSync(out)) {
    for (const check of JSON.parse(readFileSync(join(out, part, 'checks.json'), 'utf8'))) {
      checks.set(check.id, `${check.status}${check.errorMessage ? `: ${check.errorMessage}` : ''}`);
    }
  }
  rmSync(out, { recursive: true, force: true });
  const wrong = CHECKS.filter((check) => checks.get(check) !== 'SUCCESS');
  if (code !== 0 || wrong.length > 0) {
    throw new Error(`exit ${code}; ${wrong.map((check) => `${check}: ${checks.get(check)}`).join('; ')}\n${log}`);
  }
}

test('the conformance suite passes without an exception', async (world) => {
  const resource = `${world.url}/conformance/mcp`;
  await world.toolServer(resource);
  await run(world, resource);
});
