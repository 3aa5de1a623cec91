// OAuth clients that send a browser here, and what becomes of it.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { open, test } from './harness.mjs';
import { at, operator, PASSWORD, signOut, signUp, text } from './steps.mjs';

// Nobody answers there: that the browser asks is all that there is to see.
const SITE = 'https://app.example.com/callback';
const TOOLS = 'https://browser-tools.example.com/mcp';

async function client(server, name) {
  await operator(server, '/api/v1/resources', {
    audience: TOOLS, name: 'Notes', party: 'first', kind: 'plain', scopes: [{ name: 'notes:read', description: 'Read your notes' }],
  }).catch(() => {});
  const made = await operator(server, '/api/v1/clients', { name, redirectUris: [SITE, 'http://127.0.0.1/callback'], authMethod: 'none' });
  return made.id;
}

function asking(server, id, more = {}) {
  const challenge = createHash('sha256').update(randomBytes(32).toString('base64url')).digest('base64url');
  const query = new URLSearchParams({
    response_type: 'code', client_id: id, redirect_uri: SITE, code_challenge: challenge, code_challenge_method: 'S256',
    state: 'af0ifjsldkj', scope: 'notes:read', resource: TOOLS, ...more,
  });
  return `${server.url}/oauth/authorize?${query}`;
}

const code = (request) => request.url().startsWith(`${SITE}?code=`);

test('a browser goes on to a client from the form that says yes', async ({ browser, server }) => {
  const { context, page, complaints } = await open(browser, { javaScriptEnabled: false });
  await signUp({ page, server });
  const id = await client(server, 'Notes reader');
  await page.goto(asking(server, id));
  assert.match(await text(page), /Notes reader asks to act for you/);
  assert.match(await text(page), /Read your notes/);
  const left = page.waitForRequest(code);
  await page.getByRole('button', { name: 'Allow' }).click();
  await left;
  assert.deepEqual(complaints, []);
  await context.close();
});

test('a browser goes on to a client from the form of the sign-in', async ({ browser, server }) => {
  const { context, page, complaints } = await open(browser, { javaScriptEnabled: false });
  const email = await signUp({ page, server });
  const id = await client(server, 'Returning reader');
  await page.goto(asking(server, id));
  const first = page.waitForRequest(code);
  await page.getByRole('button', { name: 'Allow' }).click();
  await first;
  // That window ends at a site that does not answer.
  const next = await context.newPage();
  await page.close();
  await next.goto(`${server.url}/account`);
  await signOut({ page: next });
  // They said yes before, so that nobody asks: from the sign-in it goes to the client.
  await next.goto(asking(server, id));
  assert.equal(at(next), '/sign-in');
  await next.getByLabel('Email').fill(email);
  await next.getByLabel('Password').fill(PASSWORD);
  const left = next.waitForRequest(code);
  await next.getByRole('button', { name: 'Sign in', exact: true }).click();
  await left;
  assert.deepEqual(complaints, []);
  await context.close();
});
