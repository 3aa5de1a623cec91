// `rmcp`, the client of the Model Context Protocol for Rust, at the example of an MCP server: a human signs in, lets it in, is
// asked for more, approves a call, and finds all of it in the record.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { test } from '../shared/runner.mjs';
import { freePort } from '../shared/server.mjs';
import { document } from './world.mjs';

// On which port it listens, it says when it comes.
const REDIRECT = 'http://127.0.0.1/callback';
const SEARCH = 'tools:call:search';
const DELETE = 'tools:call:delete';
// What the client does, a word each.
const WORDS = ['search', 'refresh', 'search', 'delete', 'pause', 'delete'];
const STARTS_WITHIN_MS = 60_000;
// `search` twice; `delete` when it was refused, and when it was not.
const CALLS_DECIDED_THERE = 4;

// A program of the examples, with its lines.
function start(world, name, args, env) {
  const child = spawn(join(world.examples, name), args, {
    env: { ...process.env, NO_PROXY: 'localhost,127.0.0.1', ...env }, stdio: ['pipe', 'pipe', 'pipe'],
  });
  const program = { child, lines: createInterface({ input: child.stdout }), log: '' };
  child.stderr.on('data', (text) => { program.log += text; });
  program.ended = new Promise((done) => child.on('exit', done));
  return program;
}

// The example of an MCP server, at an address of its own.
async function mcpServer(world) {
  const port = await freePort();
  const url = `http://localhost:${port}/mcp`;
  const key = await world.toolServer(url, {
    kind: 'kavach', defaultScope: SEARCH,
    scopes: [{ name: SEARCH, description: 'search your notes' }, { name: DELETE, description: 'delete your notes' }],
  });
  const program = start(world, 'mcp_server', [], { KAVACH_ISSUER: world.url, KAVACH_RESOURCE_KEY: key, PORT: `${port}` });
  const timer = setTimeout(() => program.child.kill('SIGKILL'), STARTS_WITHIN_MS);
  for await (const line of program.lines) {
    if (line.startsWith('listening')) break;
  }
  clearTimeout(timer);
  if (program.child.exitCode !== null) throw new Error(`the MCP server ended: ${program.log}`);
  return {
    url,
    async end() {
      program.child.kill('SIGTERM');
      await program.ended;
    },
  };
}

const METADATA = {
  client_name: 'rmcp by document', redirect_uris: [REDIRECT], token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code', 'refresh_token'],
};

// Runs the client to its end, as the human in front of it. Gives what it said and which pages it opened.
async function run(world, server, id) {
  world.human.leave();
  const program = start(world, 'rmcp_client', [server.url, ...WORDS], id ? { CLIENT_ID: id } : {});
  const said = [];
  const opened = [];
  let agent;
  for await (const line of program.lines) {
    if (line.startsWith('open ')) {
      const url = new URL(line.slice('open '.length));
      opened.push(url);
      if (url.pathname.startsWith('/account/approvals/')) {
        await world.human.press(url, '/approve');
      } else {
        await fetch(await world.human.authorize(url));
      }
    } else if (line === 'pause') {
      agent = await narrow(world);
      program.child.stdin.write('done\n');
    } else {
      said.push(line);
    }
  }
  const code = await program.ended;
  assert.equal(code, 0, `${said.join('\n')}\n${program.log}`);
  return { said, opened, agent };
}

// From now on a human approves each deletion by the client that was let in last.
async function narrow(world) {
  const [agent] = await world.rows('/api/v1/agents?limit=1');
  await world.operator(`/api/v1/agents/${agent.id}`, {
    permissions: [
      { resource: SEARCH, actions: ['*'] },
      { resource: DELETE, actions: ['*'], constraints: { requireApproval: true } },
    ],
  }, 'PATCH');
  return agent;
}

// What is on record of an agent, the oldest first; what the MCP server decides it tells a second later.
async function records(world, agent) {
  const until = Date.now() + STARTS_WITHIN_MS;
  for (;;) {
    const rows = await world.rows(`/api/v1/audit?agentId=${agent.id}&limit=100`);
    const reported = rows.filter(({ kind }) => kind === 'decision.reported');
    if (reported.length >= CALLS_DECIDED_THERE) return rows.reverse();
    assert.ok(Date.now() < until, `only ${reported.length} reports`);
    await new Promise((done) => setTimeout(done, 200));
  }
}

// Whether all of these stand in a list, in this order.
function assertInOrder(list, wanted) {
  let at = 0;
  for (const one of wanted) {
    at = list.indexOf(one, at) + 1;
    assert.ok(at > 0, `no "${one}" at its place in ${JSON.stringify(list, null, 1)}`);
  }
}

for (const [how, prepare] of [
  ['registers', async () => ({ end() {} })],
  ['is known by its document', () => document(METADATA)],
]) {
  test(`rmcp ${how}, is let in, refreshes, steps up and has a call approved, all on record`, async (world) => {
    const server = await mcpServer(world);
    const client = await prepare();
    try {
      const { said, opened, agent } = await run(world, server, client.id);
      const [challenge, ...rest] = said;
      assert.match(challenge, new RegExp(`^challenged Bearer resource_metadata="[^"]*/mcp", scope="${SEARCH}"$`));
      const found = 'search: agent found no note of user about tea';
      const deleted = 'delete: there are no notes any more';
      assert.deepEqual(rest.map((line) => line.replaceAll(/(agent|user)_\w+/g, '$1')), [
        found, 'refreshed', found, `delete is refused: it takes the scope ${DELETE} ${SEARCH}`, deleted, deleted,
      ]);
      const [first, second, approval] = opened;
      assert.equal(opened.length, 3);
      assert.ok(first.searchParams.get('scope').split(' ').includes(SEARCH));
      assert.ok(!first.searchParams.get('scope').includes(DELETE));
      assert.ok(second.searchParams.get('scope').split(' ').includes(DELETE));
      assert.equal(approval.origin, world.url);
      const rows = await records(world, agent);
      const told = ({ kind, outcome, resource }) => [kind, outcome, ...(resource ? [resource] : [])].join(' ');
      const isReport = ({ kind }) => kind === 'decision.reported';
      assertInOrder(rows.filter((row) => !isReport(row)).map(told), [
        'agent.created allowed', 'connection.consented allowed', 'token.issued allowed', 'token.issued allowed',
        'connection.consented allowed', 'token.issued allowed', 'agent.updated allowed', 'token.issued allowed',
        `decision denied ${DELETE}`, `approval.requested allowed ${DELETE}`, `approval.approved allowed ${DELETE}`,
        `decision allowed ${DELETE}`,
      ]);
      assert.deepEqual(rows.filter(isReport).map(told), [
        `decision.reported allowed ${SEARCH}`, `decision.reported allowed ${SEARCH}`,
        `decision.reported denied ${DELETE}`, `decision.reported allowed ${DELETE}`,
      ]);
    } finally {
      client.end();
      await server.end();
    }
  });
}
