// P9: the CPU time of a token, beside npm oidc-provider in the same run: `node main.mjs BINARY [--short]`. Ours writes every token
// to its record, durably, and knows each one that it replaced; the reference keeps all in memory and records nothing.
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';

import { mailbox } from '../../tests/clients/mail.mjs';
import { Human } from '../../tests/clients/standin.mjs';
import { World } from '../../tests/clients/world.mjs';
import { serveOn } from '../../tests/shared/server.mjs';

const RESOURCE = 'https://bench.example.com/mcp';
const SCOPE = 'tools:call:search';
const REDIRECT = 'http://127.0.0.1/callback';
const CONNECTIONS = 32;
// A connection of a client has ten lines at the most.
const CLIENTS = 4;
const MUST = 0.1;

const [binary, how] = process.argv.slice(2);
const [ROUNDS, TOKENS, WARM] = how === '--short' ? [3, 2_000, 4_000] : [9, 8_000, 10_000];

const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });

function post(endpoint, fields, authorization) {
  const body = new URLSearchParams(fields).toString();
  const headers = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': Buffer.byteLength(body) };
  if (authorization) headers.authorization = authorization;
  return new Promise((done, fail) => {
    const sent = request(endpoint, { method: 'POST', agent, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part) => { text += part; }).on('end', () => {
        if (answer.statusCode !== 200) return fail(new Error(`${answer.statusCode}: ${text}`));
        return done(JSON.parse(text));
      });
    });
    sent.on('error', fail).end(body);
  });
}

// As the scheduler counts it, of all threads that live.
function cpuMicros(pid) {
  const spent = readdirSync(`/proc/${pid}/task`).map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]));
  return spent.reduce((sum, one) => sum + one, 0) / 1_000;
}

// So many tokens in a closed loop: what one costs the server.
async function cost(side, ask, tokens) {
  const before = cpuMicros(side.pid);
  let left = tokens;
  await Promise.all(Array.from({ length: CONNECTIONS }, async (_, lane) => {
    while (left > 0) {
      left -= 1;
      await ask(side, lane);
    }
  }));
  return (cpuMicros(side.pid) - before) / tokens;
}

async function itself(side) {
  const told = await post(side.endpoint, { grant_type: 'client_credentials', scope: SCOPE, resource: RESOURCE }, side.basic);
  if (!told.access_token) throw new Error('no token');
}

async function refreshed(side, lane) {
  const told = await post(side.endpoint, { grant_type: 'refresh_token', client_id: side.apps[lane % side.apps.length], refresh_token: side.tokens[lane] });
  if (!told.refresh_token || told.refresh_token === side.tokens[lane]) throw new Error('the refresh token was not replaced');
  side.tokens[lane] = told.refresh_token;
}

async function let_in(world, endpoint, client) {
  const verifier = randomBytes(32).toString('base64url');
  const query = new URLSearchParams({
    response_type: 'code', client_id: client, redirect_uri: REDIRECT, scope: SCOPE, resource: RESOURCE, code_challenge_method: 'S256',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
  });
  const back = await world.human.authorize(`${world.url}/oauth/authorize?${query}`);
  const code = back.searchParams.get('code');
  const told = await post(endpoint, { grant_type: 'authorization_code', client_id: client, code, redirect_uri: REDIRECT, code_verifier: verifier });
  return told.refresh_token;
}

async function ours(server, mail) {
  const human = new Human(server.url, mail);
  const world = new World(server, human, '');
  await human.signUp();
  await world.toolServer(RESOURCE);
  const { id: owner } = await world.operator('/api/v1/users', { name: 'Bot' });
  const { id: bot } = await world.operator('/api/v1/agents', {
    ownerId: owner, name: 'bench', type: 'autonomous', permissions: [{ resource: 'tools:call:*', actions: ['*'] }],
  });
  const { id, token } = await world.operator('/api/v1/clients', { name: 'Bench', grantTypes: ['client_credentials'], agent: bot });
  const endpoint = `${server.url}/oauth/token`;
  const apps = [];
  for (let count = 0; count < CLIENTS; count += 1) apps.push((await world.client({ name: `App ${count}` })).id);
  const tokens = [];
  for (let lane = 0; lane < CONNECTIONS; lane += 1) tokens.push(await let_in(world, endpoint, apps[lane % CLIENTS]));
  return { pid: server.pid, endpoint, basic: `Basic ${Buffer.from(`${id}:${token}`).toString('base64')}`, apps, tokens };
}

async function theirs() {
  const secret = randomBytes(32).toString('hex');
  const child = spawn(process.execPath, ['provider.mjs', RESOURCE, SCOPE, secret, `${CONNECTIONS}`], {
    env: { ...process.env, NODE_ENV: 'production' }, stdio: ['ignore', 'pipe', 'ignore'],
  });
  const told = JSON.parse(await new Promise((done) => { child.stdout.once('data', done); }));
  return { ...told, pid: child.pid, apps: ['app'], basic: `Basic ${Buffer.from(`itself:${secret}`).toString('base64')}`, end: () => child.kill() };
}

const median = (values) => [...values].sort((left, right) => left - right)[values.length >> 1];

const mail = await mailbox();
// One lane refreshes more often than an application may.
const server = await serveOn(binary, undefined, { ...mail.settings, KAVACH_OAUTH_MAX_REFRESHES_PER_MINUTE: '1000000' });
const reference = await theirs();
let fine = true;
try {
  const side = await ours(server, mail);
  console.log(`${CONNECTIONS} connections, ${ROUNDS} rounds of ${TOKENS} tokens, load ${readFileSync('/proc/loadavg', 'utf8').trim()}, Node ${process.version}`);
  console.log('| # | what | ours | oidc-provider | ratio, median (min..max) | must | |\n|---|---|---|---|---|---|---|');
  for (const [name, what, ask] of [['P9', 'CPU of a token, client credentials', itself], ['P9r', 'CPU of a token, refresh', refreshed]]) {
    for (const one of [side, reference]) await cost(one, ask, WARM);
    const rounds = [];
    for (let round = 0; round < ROUNDS; round += 1) rounds.push([await cost(side, ask, TOKENS), await cost(reference, ask, TOKENS)]);
    const ratios = rounds.map(([mine, other]) => mine / other);
    const ratio = median(ratios);
    const told = `${ratio.toFixed(3)} (${Math.min(...ratios).toFixed(3)}..${Math.max(...ratios).toFixed(3)})`;
    const [mine, other] = [0, 1].map((at) => `${median(rounds.map((round) => round[at])).toFixed(0)} us`);
    console.log(`| ${name} | ${what} | ${mine} | ${other} | ${told} | <= ${MUST} | ${ratio <= MUST ? 'pass' : 'FAIL'} |`);
    fine &&= ratio <= MUST;
  }
} finally {
  reference.end();
  await server.end();
  mail.end();
}
process.exit(fine ? 0 : 1);
