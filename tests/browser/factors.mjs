// How one signs in, changed on the page: passkeys, codes of an app, the password.
import assert from 'node:assert/strict';
import { open, PHONE, Skipped, test } from './harness.mjs';
import { addPasskey, approveAndStop, at, authenticator, codeOf, makeAgent, PASSWORD, signIn, signOut, signUp, text } from './steps.mjs';

test('a human adds a passkey and signs in with it', async ({ browser, server, has }) => {
  if (!has('/api/auth/passkey/register/options')) throw new Skipped('passkeys are not in this build');
  const { context, page, complaints } = await open(browser, { viewport: PHONE });
  const credentials = await authenticator(context, page);
  const world = { page, server };
  await signUp(world);
  await addPasskey(world, credentials);
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

// Sets codes of an app up, and gives the key of the app and the backup codes.
async function setUp({ page, server }) {
  await page.goto(`${server.url}/account/security`);
  await page.getByRole('button', { name: 'Set up' }).click();
  await page.getByText('I cannot scan it').click();
  const secret = await page.getByLabel('Type this key into the app').inputValue();
  const picture = () => page.getByAltText('The code to scan').boundingBox();
  assert.equal((await picture()).width > 150, true, 'the picture is too small to scan');
  await page.getByLabel('Code').fill(wrong(secret));
  await page.getByRole('button', { name: 'Switch it on' }).click();
  assert.match(await page.locator('#code-error').innerText(), /not the code that the app should show/);
  assert.equal((await picture()).width > 150, true, 'the picture is gone after a wrong code');
  await page.getByLabel('Code').fill(codeOf(secret));
  await page.getByRole('button', { name: 'Switch it on' }).click();
  const codes = await page.locator('.codes li').allInnerTexts();
  assert.equal(codes.length, 10);
  // The session is another one now, and so is the mark of the forms on this page.
  const mark = () => page.locator('[name=csrf]').first().inputValue();
  const marked = await mark();
  await page.getByRole('link', { name: 'I have kept them' }).click();
  assert.equal(await mark(), marked);
  assert.match(await text(page), /Codes from an app\s+on/);
  assert.equal((await text(page)).includes(codes[0]), false);
  return { secret, codes };
}

// A code of no step that is taken.
function wrong(secret) {
  const right = [-1, 0, 1, 2].map((steps) => codeOf(secret, steps));
  return ['000000', '111111', '222222', '333333', '444444'].find((code) => !right.includes(code));
}

async function type({ page }, label, code) {
  await page.getByLabel(label).fill(code);
  await page.getByRole('button', { name: 'Continue' }).click();
}

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? 'on a phone' : 'without JavaScript';
  test(`codes of an app are the second step of signing in, ${how}`, async ({ browser, server }) => {
    const { context, page, complaints } = await open(browser, { javaScriptEnabled, viewport: PHONE });
    const world = { page, server };
    const email = await signUp(world);
    const { secret, codes } = await setUp(world);
    await signOut(world);
    // A password alone opens nothing.
    await signIn(world, email);
    assert.equal(at(page), '/sign-in/second-factor');
    await page.goto(`${server.url}/account`);
    assert.equal(at(page), '/sign-in');
    await page.goto(`${server.url}/sign-in/second-factor`);
    await type(world, 'Code', wrong(secret));
    assert.equal(at(page), '/sign-in/second-factor');
    assert.match(await page.locator('#code-error').innerText(), /The code is wrong, too old, or was used before\./);
    assert.equal(await page.getByLabel('Code').inputValue(), '');
    // The next step of the app: that of before was used to switch it on.
    const next = codeOf(secret, 1);
    await type(world, 'Code', `${next.slice(0, 3)} ${next.slice(3)}`);
    assert.equal(at(page), '/account');
    await signOut(world);
    await byBackupCode(world, email, codes);
    const [, one] = await renewed(world, codes[3], codes[4]);
    // They are switched off with one of them too.
    await page.goto(`${server.url}/account/security`);
    await page.getByRole('link', { name: 'Switch off' }).click();
    await page.getByLabel('Code').fill(one);
    await page.getByRole('button', { name: 'Switch off' }).click();
    assert.match(await text(page), /Codes from an app are off/);
    await signOut(world);
    await signIn(world, email);
    assert.equal(at(page), '/account');
    assert.deepEqual(complaints, []);
    await context.close();
  });
}

test('somebody proves once more who they are with a code of the app', async ({ browser, server }) => {
  const { context, page } = await open(browser, { javaScriptEnabled: false });
  const world = { page, server };
  await signUp(world);
  const { secret } = await setUp(world);
  await page.goto(`${server.url}/re-authenticate?return_to=/account/agents/new`);
  await page.getByRole('link', { name: 'Use a code of your app' }).click();
  const confirm = async (code) => {
    await page.getByLabel('Code').fill(code);
    await page.getByRole('button', { name: 'Confirm' }).click();
  };
  await confirm(wrong(secret));
  assert.match(await page.locator('#code-error').innerText(), /The code is wrong/);
  await confirm(codeOf(secret, 1));
  assert.equal(at(page), '/account/agents/new');
  await context.close();
});

// Ten new backup codes for one of before; then the others of before are worth nothing.
async function renewed({ page, server }, code, other) {
  const renew = async (shown) => {
    await page.goto(`${server.url}/account/security`);
    await page.getByRole('link', { name: 'New backup codes' }).click();
    await page.getByLabel('Code').fill(shown);
    await page.getByRole('button', { name: 'Make new codes' }).click();
  };
  await renew(code);
  const codes = await page.locator('.codes li').allInnerTexts();
  assert.equal(codes.length, 10);
  await renew(other);
  assert.match(await page.locator('#code-error').innerText(), /The code is wrong/);
  return codes;
}

// The phone is gone: a backup code does, once.
async function byBackupCode(world, email, codes) {
  const { page } = world;
  await signIn(world, email);
  await page.getByRole('link', { name: 'Use a backup code' }).click();
  await type(world, 'Backup code', codes[0].toUpperCase());
  assert.equal(at(page), '/account');
  await signOut(world);
  await signIn(world, email);
  await page.getByRole('link', { name: 'Use a backup code' }).click();
  await type(world, 'Backup code', codes[0]);
  assert.match(await page.locator('#code-error').innerText(), /The code is wrong, too old, or was used before\./);
  await type(world, 'Backup code', codes[2]);
  assert.equal(at(page), '/account');
}
