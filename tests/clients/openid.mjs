// `openid-client`: a client of the standards, with proofs of possession.
import assert from 'node:assert/strict';

import * as oidc from 'openid-client';

import { test } from '../shared/runner.mjs';
import { SCOPES } from './world.mjs';

const REDIRECT = 'http://127.0.0.1:51999/callback';
const OPTIONS = { execute: [oidc.allowInsecureRequests] };

const discovered = (world, id, how = oidc.None(), more = {}) =>
  oidc.discovery(new URL(world.url), id, undefined, how, { ...OPTIONS, ...more });

// A human lets a client in.
async function letIn(world, config, resource, { DPoP, pushes } = {}) {
  const verifier = oidc.randomPKCECodeVerifier();
  const state = oidc.randomState();
  const build = pushes ? oidc.buildAuthorizationUrlWithPAR : oidc.buildAuthorizationUrl;
  const url = await build(config, {
    redirect_uri: REDIRECT, scope: SCOPES[0].name, resource, state,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
    ...(DPoP && { dpop_jkt: await DPoP.calculateThumbprint() }),
  }, pushes && { DPoP });
  world.human.leave();
  const back = await world.human.authorize(url);
  const checks = { pkceCodeVerifier: verifier, expectedState: state };
  return { back, checks, tokens: await oidc.authorizationCodeGrant(config, back, checks, undefined, { DPoP }) };
}

test('openid-client lets a human let it in, refreshes, introspects and gives back', async (world) => {
  const resource = `${world.url}/openid/mcp`;
  const key = await world.toolServer(resource);
  const { id } = await world.client({ redirectUris: [REDIRECT] });
  const config = await discovered(world, id);
  const { back, checks, tokens } = await letIn(world, config, resource);
  assert.equal(tokens.token_type, 'bearer');
  assert.equal(tokens.scope, SCOPES[0].name);
  const wrong = new URL(back);
  wrong.searchParams.set('iss', `${world.url}/`);
  await assert.rejects(oidc.authorizationCodeGrant(config, wrong, checks));
  const next = await oidc.refreshTokenGrant(config, tokens.refresh_token, { resource });
  assert.notEqual(next.refresh_token, tokens.refresh_token);
  const { data } = await (await fetch(`${world.url}/api/v1/resources`, {
    headers: { authorization: `Bearer ${world.server.operator()}` },
  })).json();
  const server = data.find((one) => one.audience === resource);
  const asServer = await discovered(world, server.id, oidc.ClientSecretBasic(key));
  const told = await oidc.tokenIntrospection(asServer, next.access_token);
  assert.equal(told.active, true);
  assert.equal(told.aud, resource);
  await oidc.tokenRevocation(config, next.refresh_token, { token_type_hint: 'refresh_token' });
  assert.equal((await oidc.tokenIntrospection(asServer, next.access_token)).active, false);
  await assert.rejects(oidc.refreshTokenGrant(config, next.refresh_token), { error: 'invalid_grant' });
});

test('openid-client binds all of it to its key', async (world) => {
  const resource = `${world.url}/openid/bound`;
  await world.toolServer(resource);
  const { id } = await world.client({ redirectUris: [REDIRECT], dpopBound: true });
  const config = await discovered(world, id, oidc.None(), { algorithm: 'oauth2' });
  const DPoP = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair('ES256'));
  const { tokens } = await letIn(world, config, resource, { DPoP });
  assert.equal(tokens.token_type, 'dpop');
  const other = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair('Ed25519'));
  await assert.rejects(oidc.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP: other }));
  await assert.rejects(oidc.refreshTokenGrant(config, tokens.refresh_token));
  const next = await oidc.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP });
  assert.equal(next.token_type, 'dpop');
});

test('openid-client shows a secret, with characters that are encoded', async (world) => {
  const resource = `${world.url}/openid/secret`;
  await world.toolServer(resource);
  const { id, token } = await world.client({ redirectUris: [REDIRECT], authMethod: 'client_secret_basic' });
  for (const how of [oidc.ClientSecretBasic(token), oidc.ClientSecretPost(token)]) {
    const { tokens } = await letIn(world, await discovered(world, id, how), resource);
    assert.ok(tokens.refresh_token);
  }
  const wrong = await discovered(world, id, oidc.ClientSecretBasic(token.slice(0, -1) + (token.endsWith('x') ? 'y' : 'x')));
  await assert.rejects(letIn(world, wrong, resource));
});

test('openid-client registers itself', async (world) => {
  const resource = `${world.url}/openid/itself`;
  await world.toolServer(resource);
  const said = { client_name: 'Itself', redirect_uris: [REDIRECT], grant_types: ['authorization_code', 'refresh_token'] };
  for (const method of ['none', 'client_secret_basic']) {
    const config = await oidc.dynamicClientRegistration(
      new URL(world.url), { ...said, token_endpoint_auth_method: method }, undefined, OPTIONS);
    const { tokens } = await letIn(world, config, resource);
    assert.ok(tokens.refresh_token);
  }
});

test('openid-client begins on a device without a browser', async (world) => {
  const resource = `${world.url}/openid/device`;
  await world.toolServer(resource);
  const grantTypes = ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'];
  const { id } = await world.client({ grantTypes, redirectUris: [] });
  const config = await discovered(world, id);
  const scope = SCOPES[0].name;
  const begin = () => oidc.initiateDeviceAuthorization(config, { scope, resource });
  const poll = (begun, options) => oidc.pollDeviceAuthorizationGrant(config, { ...begun, interval: 1 }, undefined, options);
  const DPoP = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair('ES256'));
  for (const options of [undefined, { DPoP }]) {
    const begun = await begin();
    await world.human.device(begun.verification_uri_complete, begun.user_code);
    const tokens = await poll(begun, options);
    assert.equal(tokens.token_type, options ? 'dpop' : 'bearer');
    assert.equal(tokens.scope, scope);
    const next = await oidc.refreshTokenGrant(config, tokens.refresh_token, undefined, options);
    assert.notEqual(next.refresh_token, tokens.refresh_token);
  }
  const begun = await begin();
  await world.human.device(begun.verification_uri, begun.user_code, 'deny');
  await assert.rejects(poll(begun), { error: 'access_denied' });
  const other = await world.client({ grantTypes, redirectUris: [] });
  const elsewhere = await discovered(world, other.id);
  await assert.rejects(oidc.pollDeviceAuthorizationGrant(elsewhere, { ...await begin(), interval: 1 }), { error: 'invalid_grant' });
});

test('openid-client signs who it is, pushes what it asks for, and asks for itself', async (world) => {
  const resource = `${world.url}/openid/pushed`;
  await world.toolServer(resource);
  const owner = await world.operator('/api/v1/users', { name: 'Bot' });
  const agent = await world.operator('/api/v1/agents', {
    ownerId: owner.id, name: 'bot', type: 'autonomous', permissions: [{ resource: 'tools:call:*', actions: ['*'] }],
  });
  for (const [alg, algorithm] of [
    ['ES256', { name: 'ECDSA', namedCurve: 'P-256' }],
    ['Ed25519', { name: 'Ed25519' }],
    ['RS256', { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' }],
  ]) {
    const pair = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const jwk = { ...await crypto.subtle.exportKey('jwk', pair.publicKey), alg, use: 'sig', kid: 'k1' };
    const { id } = await world.client({
      redirectUris: [REDIRECT], authMethod: 'private_key_jwt', jwks: { keys: [jwk] }, requirePushedRequests: true, agent: agent.id,
      grantTypes: ['authorization_code', 'refresh_token', 'client_credentials'],
    });
    const how = oidc.PrivateKeyJwt({ key: pair.privateKey, kid: 'k1' });
    const config = await discovered(world, id, how);
    const DPoP = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair('ES256'));
    const { tokens } = await letIn(world, config, resource, { DPoP, pushes: true });
    assert.equal(tokens.token_type, 'dpop');
    const next = await oidc.refreshTokenGrant(config, tokens.refresh_token, { resource }, { DPoP });
    assert.equal(next.token_type, 'dpop');
    const own = await oidc.clientCredentialsGrant(config, { resource, scope: SCOPES[0].name });
    assert.equal(own.refresh_token, undefined);
    const wrong = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const other = await discovered(world, id, oidc.PrivateKeyJwt({ key: wrong.privateKey, kid: 'k1' }));
    await assert.rejects(oidc.clientCredentialsGrant(other, { resource, scope: SCOPES[0].name }), { status: 401 });
  }
});
