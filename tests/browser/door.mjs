// Signing in and out, in every way that there is.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { open, test } from './harness.mjs';
import { address, approveAndStop, askByMail, at, mailed, makeAgent, PASSWORD, signIn, signOut, signUp, text } from './steps.mjs';

test('everything but passkeys works without JavaScript', async ({ browser, server }) => {
  const { context, page } = await open(browser, { javaScriptEnabled: false });
  const world = { page, server };
  const email = await signUp(world);
  await signOut(world);
  await signIn({ page, server }, email);
  assert.equal(at(page), '/account');
  const key = await makeAgent(world, 'quiet-bot');
  await approveAndStop(world, key, 'quiet-bot');
  await page.goto(`${server.url}/account/activity?outcome=denied`);
  assert.match(await text(page), /quiet-bot/);
  await context.close();
});

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
  await signIn({ page, server }, email);
  assert.equal(at(page), '/sign-in');
  await page.getByLabel('Password').fill('four herons on a crane');
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  assert.equal(at(page), '/account');
  await context.close();
});

test('another address takes the place of the old one by its link', async ({ browser, server }) => {
  const { context, page } = await open(browser, { javaScriptEnabled: false });
  const world = { page, server };
  const email = await signUp(world);
  const next = address();
  await page.goto(`${server.url}/account/security`);
  await page.getByLabel('New address').fill(email);
  await page.getByRole('button', { name: 'Send the link' }).click();
  assert.equal(await page.locator('#newEmail[aria-invalid]').count(), 1);
  assert.equal(await page.getByLabel('New address').inputValue(), email);
  const since = server.log().length;
  await page.getByLabel('New address').fill(next);
  await page.getByRole('button', { name: 'Send the link' }).click();
  assert.match(await text(page), /A mail is on its way/);
  await page.goto(await mailed(server, page, /http:\S+\/change-email\?token=[\w-]+/, since));
  await page.getByRole('button', { name: 'Take this address' }).click();
  await page.goto(`${server.url}/account/security`);
  assert.match(await text(page), new RegExp(`Now ${next}`));
  await signOut(world);
  await signIn(world, next);
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
    await signIn({ page, server }, email);
    await page.waitForURL(`${server.url}/account`);
  }
  await signOut({ page });
  await page.goto(`${server.url}/account/activity?outcome=denied`);
  await signIn({ page, server }, email);
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
