// The client SDKs of the Model Context Protocol for TypeScript, both lines: they find the authorization server by the metadata
// of a tool server, register or are known by their document, and go on with refresh tokens.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';

import { auth as auth2 } from '@modelcontextprotocol/client';
import { auth as auth1 } from '@modelcontextprotocol/sdk/client/auth.js';

import { test } from '../shared/runner.mjs';
import { SCOPES, document } from './world.mjs';

const REDIRECT = 'http://127.0.0.1:51998/callback';
const METADATA = {
  client_name: 'SDK', redirect_uris: [REDIRECT], grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'], token_endpoint_auth_method: 'none',
};

// A tool server that has nothing but its metadata (RFC 9728).
async function toolServer(world) {
  const server = createServer((asked, answer) => {
    if (asked.url !== '/.well-known/oauth-protected-resource/mcp') return answer.writeHead(404).end();
    answer.writeHead(200, { 'content-type': 'application/json' });
    return answer.end(JSON.stringify({
      resource: url, authorization_servers: [world.url], scopes_supported: SCOPES.map(({ name }) => name),
    }));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${server.address().port}/mcp`;
  await world.toolServer(url);
  return { url, end: () => server.close() };
}

// What a program keeps. Without the address of its document it registers.
class Kept {
  constructor(world, clientMetadataUrl) { Object.assign(this, { world, clientMetadataUrl }); }
  get redirectUrl() { return REDIRECT; }
  get clientMetadata() { return METADATA; }
  state() { this.said = crypto.randomUUID(); return this.said; }
  clientInformation() { return this.client; }
  saveClientInformation(client) { this.client = client; }
  tokens() { return this.kept; }
  saveTokens(tokens) { this.kept = tokens; }
  codeVerifier() { return this.verifier; }
  saveCodeVerifier(verifier) { this.verifier = verifier; }
  discoveryState() { return this.discovered; }
  saveDiscoveryState(discovered) { this.discovered = discovered; }
  async redirectToAuthorization(url) { this.back = await this.world.human.authorize(url); }
  invalidateCredentials() {}
}

const code = (back) => ({ authorizationCode: back.searchParams.get('code') });
const codeAndIssuer = (back) => ({ ...code(back), iss: back.searchParams.get('iss') });
const unknown = async () => ({ end() {} });
const documented = () => document(METADATA);

const letIn = (auth, redeem, prepare) => async (world) => {
  world.human.leave();
  const server = await toolServer(world);
  const client = await prepare();
  try {
    const kept = new Kept(world, client.id);
    assert.equal(await auth(kept, { serverUrl: server.url }), 'REDIRECT');
    assert.equal(kept.back.searchParams.get('state'), kept.said);
    assert.equal(await auth(kept, { serverUrl: server.url, ...redeem(kept.back) }), 'AUTHORIZED');
    if (client.id) assert.equal(kept.client.client_id, client.id);
    const first = kept.kept;
    assert.ok(first.access_token && first.refresh_token);
    assert.equal(await auth(kept, { serverUrl: server.url }), 'AUTHORIZED');
    assert.notEqual(kept.kept.access_token, first.access_token);
    assert.notEqual(kept.kept.refresh_token, first.refresh_token);
  } finally {
    client.end();
    server.end();
  }
};

test('the TypeScript SDK 1.x registers, is let in and refreshes', letIn(auth1, code, unknown));
test('the TypeScript SDK 2.x registers, is let in and refreshes', letIn(auth2, codeAndIssuer, unknown));
test('the TypeScript SDK 1.x is known by its document, is let in and refreshes', letIn(auth1, code, documented));
test('the TypeScript SDK 2.x is known by its document, is let in and refreshes', letIn(auth2, codeAndIssuer, documented));
