// The reference: npm oidc-provider, all of whose state is in memory. Prints its address, and refresh tokens, one a line of work.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider, errors } from 'oidc-provider';

const [resource, scope, secret, chains] = process.argv.slice(2);
const alg = 'Ed25519';
const key = { ...generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: 'k1' };

// Its own store in memory forgets what was used least of a thousand; of this one nothing is missing.
const stored = new Map();
class Everything {
  constructor(name) { this.name = name; }
  async upsert(id, payload) { stored.set(`${this.name}:${id}`, payload); }
  async find(id) { return stored.get(`${this.name}:${id}`); }
  async consume(id) { stored.get(`${this.name}:${id}`).consumed = Math.floor(Date.now() / 1_000); }
  async destroy(id) { stored.delete(`${this.name}:${id}`); }
  async revokeByGrantId() {}
  async findByUid() {}
  async findByUserCode() {}
}

const server = createServer();
await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
const url = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(url, {
  adapter: Everything,
  jwks: { keys: [key] },
  cookies: { keys: ['none is set'] },
  clientDefaults: { id_token_signed_response_alg: alg },
  clients: [
    {
      client_id: 'itself', client_secret: secret, token_endpoint_auth_method: 'client_secret_basic',
      grant_types: ['client_credentials'], response_types: [], redirect_uris: [],
    },
    {
      client_id: 'app', token_endpoint_auth_method: 'none', application_type: 'native',
      grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], redirect_uris: ['http://127.0.0.1/callback'],
    },
  ],
  findAccount: (_, sub) => ({ accountId: sub, claims: async () => ({ sub }) }),
  scopes: ['openid', 'offline_access'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, asked) => {
        if (asked !== resource) throw new errors.InvalidTarget();
        return { scope, audience: resource, accessTokenTTL: 300, accessTokenFormat: 'jwt', jwt: { sign: { alg } } };
      },
    },
  },
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  ttl: { AccessToken: 300, ClientCredentials: 300, RefreshToken: 86_400, Grant: 86_400 },
});
// Longer than ours works between two of its rounds.
server.keepAliveTimeout = 600_000;
server.on('request', provider.callback());
const client = await provider.Client.find('app');
const tokens = [];
for (let chain = 0; chain < Number(chains); chain += 1) {
  const grant = new provider.Grant({ clientId: 'app', accountId: 'ada' });
  grant.addOIDCScope('offline_access');
  grant.addResourceScope(resource, scope);
  const grantId = await grant.save();
  const token = new provider.RefreshToken({
    accountId: 'ada', client, grantId, gty: 'authorization_code', resource, scope: `offline_access ${scope}`, authTime: 1, expiresWithSession: false,
  });
  tokens.push(await token.save());
}
console.log(JSON.stringify({ endpoint: `${url}/token`, tokens }));
