// What people do on the pages, in a real Chromium, against a real `kavach dev`: `node people.mjs BINARY [PART OF A NAME]`.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { launch, open, PHONE, runAll, serve, Skipped, test } from './harness.mjs';

const PASSWORD = 'a lantern over wet slate';
const ACCOUNT_PAGES = ['/account', '/account/agents', '/account/agents/new', '/account/approvals', '/account/activity',
  '/account/sessions', '/account/security'];
let people = 0;

const address = () => `person${(people += 1)}@example.com`;
const at = (page) => new URL(page.url()).pathname;
const text = (page) => page.locator('main').innerText();

async function signUp({ page, server }, email = address(), name = 'Ada Lovelace') {
  await page.goto(`${server.url}/sign-up`);
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.waitForURL('**/account');
  return email;
}

async function signOut({ page }) {
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL('**/sign-in?**');
}

async function makeAgent({ page, server }, name) {
  await page.goto(`${server.url}/account/agents/new`);
  await page.getByLabel('Name').fill(name);
  await page.locator('#resource1').fill('mcp:deploy:production');
  await page.locator('#actions1').fill('execute');
  await page.getByLabel('Needs my approval each time').first().check();
  await page.getByRole('button', { name: 'Create agent' }).click();
  return page.locator('#key').inputValue();
}

async function ask(server, key, args) {
  const answer = await fetch(`${server.url}/api/v1/authorize`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ action: 'execute', resource: 'mcp:deploy:production', arguments: args }),
  });
  return (await answer.json()).data ?? { code: `${answer.status}` };
}

async function operator(server, path, body, headers = {}) {
  const answer = await fetch(`${server.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.operator()}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  assert.equal(answer.ok, true, await answer.clone().text());
  return (await answer.json()).data;
}

async function approveAndStop(world, key, name) {
  const { page, server } = world;
  assert.equal((await ask(server, key, { version: '4.2.0' })).code, 'approval_required');
  await page.goto(`${server.url}/account`);
  await page.getByRole('link', { name: 'Approvals' }).click();
  await page.getByRole('link', { name: /^Look at it/ }).first().click();
  const document = await page.locator('pre.document').innerText();
  assert.match(document, /"version":"4\.2\.0"/);
  await page.getByRole('button', { name: 'Approve once' }).click();
  assert.match(await text(page), /Approved\. The agent may do this once/);
  assert.equal((await ask(server, key, { version: '4.2.1' })).code, 'approval_required');
  assert.equal((await ask(server, key, { version: '4.2.0' })).code, 'allowed');
  await page.getByRole('link', { name: 'Agents', exact: true }).click();
  await page.getByRole('link', { name: `Stop ${name}` }).click();
  await page.getByRole('button', { name: 'Stop it' }).click();
  assert.match(await text(page), new RegExp(`${name} is stopped\\. Nobody accepts it any more`));
  assert.notEqual((await ask(server, key, { version: '4.2.0' })).code, 'allowed');
}

test('a human signs up, makes an agent, approves one of its calls on a phone, and stops it', async ({ browser, server }) => {
  const { context, page, complaints } = await open(browser, { viewport: PHONE, isMobile: true, hasTouch: true });
  const world = { page, server };
  await signUp(world);
  const key = await makeAgent(world, 'deploy-bot');
  assert.match(key, /^kv_agent_/);
  await approveAndStop(world, key, 'deploy-bot');
  const tooWide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.equal(tooWide <= 0, true, 'the page scrolls sideways on a phone');
  assert.deepEqual(complaints, []);
  await context.close();
});

test('a human adds a passkey and signs in with it', async ({ browser, server, has }) => {
  if (!has('/api/auth/passkey/register/options')) throw new Skipped('passkeys are not in this build');
  const { context, page, complaints } = await open(browser, { viewport: PHONE });
  const devtools = await context.newCDPSession(page);
  await devtools.send('WebAuthn.enable');
  const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true,
      isUserVerified: true, automaticPresenceSimulation: true },
  });
  const world = { page, server };
  await signUp(world);
  await page.goto(`${server.url}/account/security`);
  await page.getByRole('button', { name: 'Add a passkey' }).click();
  await page.getByText('The passkey was added').waitFor();
  const { credentials } = await devtools.send('WebAuthn.getCredentials', { authenticatorId });
  assert.equal(credentials.length, 1);
  await signOut(world);
  // Either the browser offers it by itself, or the button is pressed.
  await page.getByRole('button', { name: 'Use a passkey' }).click({ timeout: 5_000 }).catch(() => {});
  await page.waitForURL('**/account');
  // Signing in anew as somebody who has been away: the same passkey answers.
  await page.goto(`${server.url}/re-authenticate?return_to=/account/agents/new`);
  await page.getByRole('button', { name: 'Use a passkey' }).click();
  await page.waitForURL((url) => url.pathname === '/account/agents/new');
  const key = await makeAgent(world, 'passkey-bot');
  await approveAndStop(world, key, 'passkey-bot');
  // Removed, it opens nothing any more.
  await page.goto(`${server.url}/account/security`);
  await page.getByRole('link', { name: /^Remove/ }).click();
  await page.getByRole('button', { name: 'Remove it' }).click();
  await page.getByText('The passkey was removed').waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test('everything but passkeys works without JavaScript', async ({ browser, server }) => {
  const { context, page } = await open(browser, { javaScriptEnabled: false });
  const world = { page, server };
  const email = await signUp(world);
  await signOut(world);
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  assert.equal(at(page), '/account');
  const key = await makeAgent(world, 'quiet-bot');
  await approveAndStop(world, key, 'quiet-bot');
  await page.goto(`${server.url}/account/activity?outcome=denied`);
  assert.match(await text(page), /quiet-bot/);
  await context.close();
});

// What `kavach dev` prints of a mail that it would send, from the newest one to this address on.
async function mailed(server, page, pattern, since) {
  if (/mail/.test(await text(page)) && await page.locator('.emblem.bad').count()) {
    throw new Skipped('mails are not in this build');
  }
  const until = Date.now() + 20_000;
  for (;;) {
    const found = server.log().slice(since).replaceAll('=\n', '').match(pattern);
    if (found) return found[0];
    if (Date.now() > until) throw new Error(`no mail with ${pattern}:\n${server.log().slice(since)}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

// A way by mail: the form that asks for it, and what came.
async function askByMail({ page, server }, path, email, pattern) {
  const since = server.log().length;
  await page.goto(`${server.url}${path}`);
  await page.getByLabel('Email').fill(email);
  const answer = page.waitForResponse((response) => response.request().method() === 'POST');
  await page.getByRole('button', { name: /^Send/ }).click();
  if ((await answer).status() === 503) throw new Skipped('mails are not in this build');
  return mailed(server, page, pattern, since);
}

test('a link by mail signs in after a press of its button, once', async ({ browser, server }) => {
  const { context, page } = await open(browser, { javaScriptEnabled: false });
  const world = { page, server };
  const email = await signUp(world);
  await signOut(world);
  const link = await askByMail(world, '/sign-in/link', email, /http:\S+\/magic-link\?token=[\w-]+/);
  await page.goto(link);
  await page.getByRole('button', { name: 'Sign in' }).click();
  assert.equal(at(page), '/account');
  await page.goto(link);
  await page.getByRole('button', { name: 'Sign in' }).click();
  assert.equal(await page.getByRole('alert').count(), 1);
  // In another browser it asks first.
  const second = await askByMail(world, '/sign-in/link', email, /http:\S+\/magic-link\?token=[\w-]+/);
  const other = await open(browser, { javaScriptEnabled: false });
  await other.page.goto(second);
  await other.page.getByRole('button', { name: 'Sign in' }).click();
  assert.match(await text(other.page), /asked for in another browser/);
  await other.page.getByRole('button', { name: 'It was me' }).click();
  assert.equal(at(other.page), '/account');
  await other.context.close();
  await context.close();
});

test('a code by mail signs in, in the browser that asked', async ({ browser, server }) => {
  const { context, page } = await open(browser, { javaScriptEnabled: false });
  const world = { page, server };
  const email = await signUp(world);
  await signOut(world);
  const code = await askByMail(world, '/sign-in/email-code', email, /\b\d{6}\b/);
  await page.getByLabel('Code').fill(code === '000000' ? '111111' : '000000');
  await page.getByRole('button', { name: 'Continue' }).click();
  assert.equal(await page.locator('[aria-invalid]').count(), 1);
  await page.getByLabel('Code').fill(`${code.slice(0, 3)} ${code.slice(3)}`);
  await page.getByRole('button', { name: 'Continue' }).click();
  assert.equal(at(page), '/account');
  await context.close();
});

test('whoever forgot their password chooses another one', async ({ browser, server }) => {
  const { context, page } = await open(browser, { javaScriptEnabled: false });
  const world = { page, server };
  const email = await signUp(world);
  await signOut(world);
  const link = await askByMail(world, '/forgot-password', email, /http:\S+\/reset-password\?token=[\w.-]+/);
  await page.goto(link);
  await page.getByLabel('New password').fill('four herons on a crane');
  await page.getByRole('button', { name: 'Set the password' }).click();
  assert.equal(at(page), '/sign-in');
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  assert.equal(at(page), '/sign-in');
  await page.getByLabel('Password').fill('four herons on a crane');
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  assert.equal(at(page), '/account');
  await context.close();
});

test('somebody proves once more who they are, and goes on', async ({ browser, server }) => {
  const { context, page } = await open(browser, { javaScriptEnabled: false });
  const world = { page, server };
  await signUp(world);
  await page.goto(`${server.url}/re-authenticate?return_to=/account/agents/new`);
  await page.getByLabel('Password').fill('not this one, surely');
  await page.getByRole('button', { name: 'Confirm' }).click();
  assert.equal(await page.locator('[aria-invalid]').count(), 1);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Confirm' }).click();
  assert.equal(at(page), '/account/agents/new');
  await context.close();
});

test('a password is changed on the page', async ({ browser, server }) => {
  const { context, page } = await open(browser, { javaScriptEnabled: false });
  const world = { page, server };
  await signUp(world);
  await page.goto(`${server.url}/account/security`);
  await page.getByLabel('Current password').fill('not this one, surely');
  await page.getByLabel('New password').fill('four herons on a crane');
  await page.getByRole('button', { name: 'Change password' }).click();
  assert.equal(await page.locator('[aria-invalid]').count(), 1);
  await page.getByLabel('Current password').fill(PASSWORD);
  await page.getByLabel('New password').fill('four herons on a crane');
  await page.getByRole('button', { name: 'Change password' }).click();
  assert.match(await text(page), /Your password was changed/);
  await context.close();
});

test('one signs in with the keyboard alone', async ({ browser, server }) => {
  const { context, page } = await open(browser);
  const email = await signUp({ page, server });
  await signOut({ page });
  await page.goto(`${server.url}/sign-in`);
  assert.equal(await page.evaluate(() => document.activeElement.name), 'email');
  await page.keyboard.type(email);
  for (let presses = 0; presses < 3; presses += 1) {
    await page.keyboard.press('Tab');
    if (await page.evaluate(() => document.activeElement.name) === 'password') break;
  }
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press('Enter');
  await page.waitForURL('**/account');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
  await context.close();
});

test('what is wrong is said beside the field, and what was typed is kept, but no password', async ({ browser, server }) => {
  const { context, page } = await open(browser, { javaScriptEnabled: false });
  const email = await signUp({ page, server });
  await signOut({ page });
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill('something else entirely');
  const answer = page.waitForResponse((response) => response.request().method() === 'POST');
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  assert.equal((await answer).status(), 401);
  assert.equal(await page.getByLabel('Email').inputValue(), email);
  assert.equal(await page.getByLabel('Password').inputValue(), '');
  assert.equal(await page.getByRole('alert').count(), 1);
  await context.close();
});

test('a browser is sent nowhere else after signing in', async ({ browser, server }) => {
  const { context, page } = await open(browser);
  const email = await signUp({ page, server });
  for (const hostile of ['//evil.example.com', '/\\evil.example.com', 'https:evil.example.com', 'javascript:alert(1)',
    '%09//evil.example.com', '/%09/evil.example.com', '/account/../..//evil.example.com']) {
    await signOut({ page });
    await page.goto(`${server.url}/sign-in?return_to=${hostile}`);
    await page.getByLabel('Email').fill(email);
    await page.getByLabel('Password').fill(PASSWORD);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.waitForURL(`${server.url}/account`);
  }
  await signOut({ page });
  await page.goto(`${server.url}/account/activity?outcome=denied`);
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.waitForURL('**/account/activity?outcome=denied');
  await context.close();
});

test('a page of another server neither frames ours nor signs anybody out', async ({ browser, server }) => {
  const evil = createServer((_, answer) => {
    answer.setHeader('content-type', 'text/html');
    answer.end(`<iframe src="${server.url}/account"></iframe><form id="f" method="post" target="t"
      action="${server.url}/account/sign-out"><input name="csrf" value="x"></form><iframe name="t"></iframe>
      <script>document.getElementById('f').submit()</script>`);
  });
  await new Promise((done) => evil.listen(0, '127.0.0.1', done));
  const { context, page } = await open(browser);
  await signUp({ page, server });
  const other = await context.newPage();
  await other.goto(`http://127.0.0.1:${evil.address().port}/`);
  await other.waitForLoadState('networkidle');
  const framed = await Promise.all(other.frames().slice(1).map((frame) => frame.content().catch(() => '')));
  assert.equal(framed.some((html) => html.includes('class="app"')), false);
  await page.goto(`${server.url}/account`);
  assert.equal(at(page), '/account');
  evil.close();
  await context.close();
});

test('nothing that others wrote is run', async ({ browser, server }) => {
  const evil = '<img src=x onerror=alert(1)><script>alert(2)</script>';
  const { context, page, complaints } = await open(browser, { userAgent: `"><script>alert(3)</script> Chrome/156` });
  const world = { page, server };
  await signUp(world, address(), evil);
  const key = await makeAgent(world, evil);
  await ask(server, key, { note: `</pre>${evil}`, [evil]: evil });
  const agents = await page.request.get(`${server.url}/api/v1/agents`);
  const [agent] = (await agents.json()).data;
  const other = await operator(server, '/api/v1/agents',
    { ownerId: agent.userId, name: 'other', type: 'service', permissions: [{ resource: 'mcp:*', actions: ['read'] }] },
    { 'user-agent': evil });
  await operator(server, '/api/v1/delegations', { from: other.id, to: agent.id, ttlSeconds: 600, reason: evil,
    permissions: [{ resource: 'mcp:a', actions: ['read'] }] });
  const approvals = await (await page.request.get(`${server.url}/api/v1/approvals`)).json();
  const paths = [...ACCOUNT_PAGES, `/account/agents/${agent.id}`, `/account/agents/${agent.id}/stop`,
    `/account/approvals/${approvals.data[0].id}`, `/account/activity?agent=${encodeURIComponent(evil)}`,
    `/sign-in?return_to=${encodeURIComponent(`"><script>alert(4)</script>`)}`, `/${encodeURIComponent(evil)}`];
  for (const path of paths) {
    await page.goto(`${server.url}${path}`);
    assert.equal(await page.locator('img[src="x"], script:not([src])').count(), 0, path);
  }
  assert.deepEqual(complaints, []);
  await context.close();
});

test('everybody can read and use every page, light and dark', async ({ browser, server }) => {
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  const faults = [];
  for (const colorScheme of ['light', 'dark']) {
    for (const viewport of [PHONE, undefined]) {
      const options = { colorScheme, bypassCSP: true, ...(viewport && { viewport }) };
      const { context, page } = await open(browser, options);
      const look = async (path) => {
        await page.goto(`${server.url}${path}`);
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => globalThis.axe.run(document));
        for (const one of violations) {
          const where = one.nodes.map((node) => `${node.target} ${node.failureSummary}`).slice(0, 3).join('\n  ');
          faults.push(`${path} ${colorScheme} ${viewport ? 'phone' : 'wide'}: ${one.id}\n  ${where}`);
        }
      };
      for (const path of ['/account/nowhere', '/sign-in/link', '/sign-in/email-code', '/forgot-password', '/reset-password?token=x',
        '/magic-link?token=x', '/verify-email?token=x', '/sign-up', '/sign-in']) await look(path);
      // That it would be found: a field without its label.
      await page.evaluate(() => document.querySelector('label').remove());
      const { violations } = await page.evaluate(() => globalThis.axe.run(document));
      assert.notEqual(violations.length, 0);
      const world = { page, server };
      await signUp(world);
      for (const path of ACCOUNT_PAGES) await look(path);
      const key = await makeAgent(world, 'deploy-bot');
      await ask(server, key, { version: '1' });
      const agents = await (await page.request.get(`${server.url}/api/v1/agents`)).json();
      const approvals = await (await page.request.get(`${server.url}/api/v1/approvals`)).json();
      for (const path of [...ACCOUNT_PAGES, `/account/agents/${agents.data[0].id}`, `/account/agents/${agents.data[0].id}/stop`,
        `/account/approvals/${approvals.data[0].id}`, '/re-authenticate']) await look(path);
      await context.close();
    }
  }
  assert.deepEqual(faults, []);
});

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
