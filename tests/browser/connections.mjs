// What a human let OAuth clients be: they see it, and end it, in part or all of it.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { open, PHONE, test } from './harness.mjs';
import { at, operator, signUp, text } from './steps.mjs';

const SITE = 'https://app.example.com/callback';
const TOOLS = 'https://browser-notes.example.com/mcp';

async function letIn(page, server, id) {
  const verifier = randomBytes(32).toString('base64url');
  const query = new URLSearchParams({
    response_type: 'code', client_id: id, redirect_uri: SITE, code_challenge_method: 'S256', prompt: 'consent',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'), scope: 'notes:read', resource: TOOLS,
  });
  await page.goto(`${server.url}/oauth/authorize?${query}`);
  const left = page.waitForRequest((request) => request.url().startsWith(`${SITE}?code=`));
  await page.getByRole('button', { name: 'Allow' }).click();
  const code = new URL((await left).url()).searchParams.get('code');
  // Nobody answers there, and only then can it go elsewhere.
  await page.waitForURL(/^chrome-error:/);
  const body = new URLSearchParams({
    grant_type: 'authorization_code', client_id: id, code, redirect_uri: SITE, code_verifier: verifier,
  });
  const answer = await fetch(`${server.url}/oauth/token`, { method: 'POST', body });
  assert.equal(answer.status, 200);
}

for (const [where, viewport] of [['a wide window', undefined], ['a phone', PHONE]]) {
  test(`what was let in is seen and ended, without scripts, on ${where}`, async ({ browser, server }) => {
    const { context, page, complaints } = await open(browser, { javaScriptEnabled: false, ...(viewport && { viewport }) });
    await signUp({ page, server });
    const room = page.getByRole('navigation', { name: 'Account' }).getByRole('link', { name: 'Connections' });
    await room.click();
    assert.match(await text(page), /No connections yet/);
    const scopes = [{ name: 'notes:read', description: 'Read your notes' }];
    await operator(server, '/api/v1/resources', { audience: TOOLS, name: 'Notes', kind: 'plain', scopes }).catch(() => {});
    const made = await operator(server, '/api/v1/clients', { name: 'Notes reader', redirectUris: [SITE], authMethod: 'none' });
    await letIn(page, server, made.id);
    await letIn(page, server, made.id);
    await page.goto(`${server.url}/account`);
    await room.click();
    await page.getByRole('link', { name: 'Notes reader', exact: true }).click();
    assert.match(await text(page), /Read your notes/);
    const ends = page.getByRole('button', { name: /^End what was let in/ });
    assert.equal(await ends.count(), 2);
    await ends.first().click();
    assert.match(await text(page), /is stopped/);
    assert.equal(await ends.count(), 1);
    await page.getByRole('button', { name: 'Ask me next time for Notes' }).click();
    assert.match(await text(page), /You are asked before it is let in there again/);
    await page.getByRole('link', { name: 'End', exact: true }).click();
    await page.getByRole('button', { name: 'End it' }).click();
    assert.match(await text(page), /Notes reader is stopped/);
    assert.match(at(page), /^\/account\/connections\//);
    // Nothing of it lies beside the window.
    const wide = await page.evaluate('document.documentElement.scrollWidth > document.documentElement.clientWidth').catch(() => false);
    assert.equal(wide, false);
    assert.deepEqual(complaints, []);
    await context.close();
  });
}
