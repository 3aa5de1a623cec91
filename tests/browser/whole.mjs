// The whole of it in one run: from a line in a shell to an agent that is stopped.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open, PHONE, test } from './harness.mjs';
import { addPasskey, address, approveAndStop, authenticator, makeAgent, signOut, signUp } from './steps.mjs';

// The line of the README, word for word. Where it says port 3000, curl goes to the server of this run.
function typed(server) {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const line = readme.match(/^curl -X POST http:\/\/localhost:3000\/api\/auth\/sign-up\/email \\\n(.*\n)*?-d .*$/m)[0];
  const home = mkdtempSync(join(tmpdir(), 'kavach-curl-'));
  try {
    writeFileSync(join(home, '.curlrc'), `connect-to = "localhost:3000:127.0.0.1:${new URL(server.url).port}"\n`);
    const env = { ...process.env, CURL_HOME: home, HOME: home };
    return JSON.parse(execFileSync('sh', ['-c', line], { env, stdio: ['ignore', 'pipe', 'ignore'] }));
  } finally {
    rmSync(home, { recursive: true });
  }
}

test('the line of the tutorial signs up with curl', async ({ server }) => {
  const { data } = typed(server);
  assert.match(data.token, /^kv_sess_/);
  assert.match(data.user.id, /^user_/);
  assert.deepEqual([data.user.email, data.user.name], ['ada@example.com', 'Ada']);
});

test('a human signs up, adds a passkey, makes an agent, approves its waiting call on a phone, and stops it', async ({ browser, server }) => {
  const { context, page, complaints } = await open(browser, { viewport: PHONE, isMobile: true, hasTouch: true });
  const world = { page, server };
  const credentials = await authenticator(context, page);
  await signUp(world, address(), 'Grace Hopper');
  await addPasskey(world, credentials);
  // From here on it is the passkey by which they are there.
  await signOut(world);
  await page.getByRole('button', { name: 'Use a passkey' }).click({ timeout: 5_000 }).catch(() => {});
  await page.waitForURL('**/account');
  await page.goto(`${server.url}/account/sessions`);
  await page.getByText('signed in by a passkey').waitFor();
  const key = await makeAgent(world, 'deploy-bot');
  assert.match(key, /^kv_agent_/);
  await approveAndStop(world, key, 'deploy-bot');
  const tooWide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.equal(tooWide <= 0, true, 'the page scrolls sideways on a phone');
  assert.deepEqual(complaints, []);
  await context.close();
});
