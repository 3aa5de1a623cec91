// What people do on the pages, step by step, and what their agents ask meanwhile.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { Skipped } from './harness.mjs';

export const PASSWORD = 'a lantern over wet slate';
export const ACCOUNT_PAGES = ['/account', '/account/agents', '/account/agents/new', '/account/connections', '/account/approvals', '/account/activity',
  '/account/sessions', '/account/security'];
let people = 0;

export const address = () => `person${(people += 1)}@example.com`;
export const at = (page) => new URL(page.url()).pathname;
export const text = (page) => page.locator('main').innerText();

export async function signUp({ page, server }, email = address(), name = 'Ada Lovelace') {
  await page.goto(`${server.url}/sign-up`);
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.waitForURL('**/account');
  return email;
}

export async function signIn({ page, server }, email, password = PASSWORD) {
  if (at(page) !== '/sign-in') await page.goto(`${server.url}/sign-in`);
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

export async function signOut({ page }) {
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL('**/sign-in?**');
}

export async function makeAgent({ page, server }, name) {
  await page.goto(`${server.url}/account/agents/new`);
  await page.getByLabel('Name').fill(name);
  await page.locator('#resource1').fill('mcp:deploy:production');
  await page.locator('#actions1').fill('execute');
  await page.getByLabel('Needs my approval each time').first().check();
  await page.getByRole('button', { name: 'Create agent' }).click();
  return page.locator('#key').inputValue();
}

export async function ask(server, key, args) {
  const answer = await fetch(`${server.url}/api/v1/authorize`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ action: 'execute', resource: 'mcp:deploy:production', arguments: args }),
  });
  return (await answer.json()).data ?? { code: `${answer.status}` };
}

export async function operator(server, path, body, headers = {}) {
  const answer = await fetch(`${server.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.operator()}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  assert.equal(answer.ok, true, await answer.clone().text());
  return (await answer.json()).data;
}

// The agent's own question about its request, which is answered once the human has answered it.
export async function answered(server, key, approval) {
  const answer = await fetch(`${server.url}/api/v1/approvals/${approval}?wait=30`, {
    headers: { authorization: `Bearer ${key}` },
  });
  return (await answer.json()).data.status;
}

export async function approveAndStop({ page, server }, key, name) {
  const asked = await ask(server, key, { version: '4.2.0' });
  assert.equal(asked.code, 'approval_required');
  let status = 'waits';
  const waiting = answered(server, key, asked.approvalId).then((word) => { status = word; });
  await page.goto(`${server.url}/account`);
  await page.getByRole('link', { name: 'Approvals' }).click();
  await page.getByRole('link', { name: /^Look at it/ }).first().click();
  const document = await page.locator('pre.document').innerText();
  assert.match(document, /"version":"4\.2\.0"/);
  assert.equal(status, 'waits');
  await page.getByRole('button', { name: 'Approve once' }).click();
  assert.match(await text(page), /Approved\. The agent may do this once/);
  await waiting;
  assert.equal(status, 'approved');
  assert.equal((await ask(server, key, { version: '4.2.1' })).code, 'approval_required');
  assert.equal((await ask(server, key, { version: '4.2.0' })).code, 'allowed');
  await page.getByRole('link', { name: 'Agents', exact: true }).click();
  await page.getByRole('link', { name: `Stop ${name}` }).click();
  await page.getByRole('button', { name: 'Stop it' }).click();
  assert.match(await text(page), new RegExp(`${name} is stopped\\. Nobody accepts it any more`));
  assert.equal((await ask(server, key, { version: '4.2.0' })).code, 'key_revoked');
}

// The authenticator of a phone: it holds passkeys, and its human is always there.
export async function authenticator(context, page) {
  const devtools = await context.newCDPSession(page);
  await devtools.send('WebAuthn.enable');
  const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true,
      isUserVerified: true, automaticPresenceSimulation: true },
  });
  return async () => (await devtools.send('WebAuthn.getCredentials', { authenticatorId })).credentials;
}

export async function addPasskey({ page, server }, credentials) {
  await page.goto(`${server.url}/account/security`);
  await page.getByRole('button', { name: 'Add a passkey' }).click();
  await page.getByText('The passkey was added').waitFor();
  assert.equal((await credentials()).length, 1);
}

// What an app shows (RFC 6238): the code of the step that is so many steps from now.
export function codeOf(secret, steps = 0) {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...secret.replaceAll(' ', '')].map((letter) => letters.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const bytes = bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const mac = createHmac('sha1', Buffer.from(bytes)).update(counter).digest();
  const number = mac.readUInt32BE(mac[19] & 15) & 0x7fff_ffff;
  return `${number % 1_000_000}`.padStart(6, '0');
}

// What `kavach dev` prints of a mail that it would send, from the newest one to this address on.
export async function mailed(server, page, pattern, since) {
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
export async function askByMail({ page, server }, path, email, pattern) {
  const since = server.log().length;
  await page.goto(`${server.url}${path}`);
  await page.getByLabel('Email').fill(email);
  const answer = page.waitForResponse((response) => response.request().method() === 'POST');
  await page.getByRole('button', { name: /^Send/ }).click();
  if ((await answer).status() === 503) throw new Skipped('mails are not in this build');
  return mailed(server, page, pattern, since);
}
