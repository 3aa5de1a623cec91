// What every client meets: a tool server that is registered, an OAuth client and its document, and a human.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { fileURLToPath } from 'node:url';

const file = (name) => fileURLToPath(new URL(`tls/${name}`, import.meta.url));

// Who signed the certificate of `localhost` that lies beside it, and can sign for no other name; its key is gone.
export const AUTHORITY = file('authority.pem');

export const SCOPES = [
  { name: 'tools:call:search', description: 'search' },
  { name: 'tools:call:write', description: 'write' },
];

export class World {
  constructor(server, human, examples) {
    Object.assign(this, { server, human, examples, url: server.url });
  }

  async operator(path, body, method = 'POST') {
    const answer = await fetch(`${this.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.server.operator()}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const { data, error } = await answer.json();
    if (error) throw new Error(`${path}: ${error.message}`);
    return data;
  }

  async rows(path) {
    const answer = await fetch(`${this.url}${path}`, { headers: { authorization: `Bearer ${this.server.operator()}` } });
    return (await answer.json()).data;
  }

  // A tool server of this address, whose key is given back.
  async toolServer(audience, more = {}) {
    const { token } = await this.operator('/api/v1/resources', {
      audience, name: 'tools', party: 'first', kind: 'plain', scopes: SCOPES, defaultScope: SCOPES[0].name, ...more,
    });
    return token;
  }

  client(more = {}) {
    return this.operator('/api/v1/clients', { name: 'Test client', redirectUris: ['http://127.0.0.1/callback'], authMethod: 'none', ...more });
  }
}

// A client's document, at the address that is its id.
export async function document(metadata) {
  const tls = { key: readFileSync(file('localhost.key')), cert: readFileSync(file('localhost.pem')) };
  const server = createServer(tls, (_, answer) => {
    answer.writeHead(200, { 'content-type': 'application/json' });
    answer.end(JSON.stringify({ client_id: id, ...metadata }));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const id = `https://localhost:${server.address().port}/client.json`;
  return { id, end: () => server.close() };
}
