// Pages are read by everybody, and run nothing that others wrote.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { open, PHONE, test } from './harness.mjs';
import { ACCOUNT_PAGES, addPasskey, address, ask, authenticator, codeOf, makeAgent, operator, signIn, signUp } from './steps.mjs';

// Every page that links lead to from here, without what is about one thing alone.
async function reached({ page, server }, from) {
  const found = new Set([from]);
  for (const path of found) {
    await page.goto(`${server.url}${path}`);
    const links = await page.locator('a[href^="/"]').evaluateAll((all) => all.map((one) => one.getAttribute('href')));
    for (const link of links) found.add(link.split('?')[0]);
  }
  return found;
}

test('links lead to every page', async ({ browser, server }) => {
  const { context, page } = await open(browser, { viewport: PHONE });
  const world = { page, server };
  const door = await reached(world, '/sign-in');
  for (const path of ['/sign-up', '/sign-in/link', '/sign-in/email-code', '/forgot-password']) assert.equal(door.has(path), true, path);
  await addPasskeyFor(world, context);
  const key = await makeAgent(world, 'deploy-bot');
  const { approvalId } = await ask(server, key, { version: '1' });
  const [agent] = (await (await page.request.get(`${server.url}/api/v1/agents`)).json()).data;
  const [passkey] = (await (await page.request.get(`${server.url}/api/auth/passkey/credentials`)).json()).data;
  const account = await reached(world, '/account');
  for (const path of [...ACCOUNT_PAGES, `/account/agents/${agent.id}`, `/account/agents/${agent.id}/stop`,
    `/account/agents/${agent.id}/suspend`, `/account/approvals/${approvalId}`,
    `/account/security/passkeys/${passkey.id}/remove`]) assert.equal(account.has(path), true, path);
  await context.close();
});

async function addPasskeyFor(world, context) {
  const credentials = await authenticator(context, world.page);
  await signUp(world);
  await addPasskey(world, credentials);
}

test('nothing that others wrote is run', async ({ browser, server }) => {
  const evil = '<img src=x onerror=alert(1)><script>alert(2)</script>';
  const { context, page, complaints } = await open(browser, { userAgent: `"><script>alert(3)</script> Chrome/156` });
  const world = { page, server };
  const credentials = await authenticator(context, page);
  await signUp(world, address(), evil);
  // The script names a passkey after the device; who sends another name finds it on the page.
  await page.route('**/passkey/register/verify', (route) => {
    const sent = route.request().postDataJSON();
    return route.continue({ postData: JSON.stringify({ ...sent, name: evil.slice(0, 60) }) });
  });
  await addPasskey(world, credentials);
  assert.match(await page.locator('main').innerText(), /<img src=x onerror/);
  const [passkey] = (await (await page.request.get(`${server.url}/api/auth/passkey/credentials`)).json()).data;
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
    `/account/security/passkeys/${passkey.id}/remove`,
    `/account/approvals/${approvals.data[0].id}`, `/account/activity?agent=${encodeURIComponent(evil)}`,
    `/${encodeURIComponent(evil)}`];
  const look = async (at, path) => {
    await at.goto(`${server.url}${path}`);
    assert.equal(await at.locator('img[src="x"], script:not([src])').count(), 0, path);
  };
  for (const path of paths) await look(page, path);
  await context.close();
  // Where no passkey is at hand: one that is answers the page by itself, which then leaves for another.
  const stranger = await open(browser);
  await look(stranger.page, `/sign-in?return_to=${encodeURIComponent(`"><script>alert(4)</script>`)}`);
  await stranger.context.close();
  assert.deepEqual([...complaints, ...stranger.complaints], []);
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
        await read(path);
      };
      const read = async (path) => {
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => globalThis.axe.run(document));
        for (const one of violations) {
          const where = one.nodes.map((node) => `${node.target} ${node.failureSummary}`).slice(0, 3).join('\n  ');
          faults.push(`${path} ${colorScheme} ${viewport ? 'phone' : 'wide'}: ${one.id}\n  ${where}`);
        }
      };
      for (const path of ['/account/nowhere', '/sign-in/link', '/sign-in/email-code', '/forgot-password', '/reset-password?token=x',
        '/magic-link?token=x', '/verify-email?token=x', '/not-me?token=x', '/restore-email?token=x', '/sign-up', '/sign-in']) await look(path);
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
      await readFactors(world, read);
      await context.close();
    }
  }
  assert.deepEqual(faults, []);
});

// The pages of codes of an app, on the way through them.
async function readFactors({ page, server }, read) {
  const email = await page.request.get(`${server.url}/api/auth/session`).then(async (answer) => (await answer.json()).data.user.email);
  await page.goto(`${server.url}/account/security`);
  await page.getByRole('button', { name: 'Set up' }).click();
  await read('codes: set up');
  await page.getByText('I cannot scan it').click();
  await read('codes: the key');
  const secret = await page.locator('#secret').inputValue();
  await page.getByLabel('Code').fill('x');
  await page.getByRole('button', { name: 'Switch it on' }).click();
  await read('codes: a wrong code');
  await page.getByLabel('Code').fill(codeOf(secret));
  await page.getByRole('button', { name: 'Switch it on' }).click();
  await read('codes: backup codes');
  for (const path of ['/account/security', '/account/security/totp/disable', '/account/security/backup-codes', '/re-authenticate?with=totp']) {
    await page.goto(`${server.url}${path}`);
    await read(path);
  }
  await page.context().clearCookies();
  await signIn({ page, server }, email);
  await read('/sign-in/second-factor');
  await page.getByRole('link', { name: 'Use a backup code' }).click();
  await read('/sign-in/second-factor?with=backup');
}
