// Holds `jose` against testdata/vectors.json, as somebody would use it who knows the standards and nothing of us: leaves
// and roots by RFC 9068 with the published keys, proofs by RFC 9449 with the key that they carry.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { calculateJwkThumbprint, createLocalJWKSet, decodeJwt, EmbeddedJWK, jwtVerify } from 'jose';

const SKEW = 30; // seconds that an issuer's clock may be ahead
const PROOF_AGE = 60; // seconds
const TYP = { leaf: 'at+jwt', root: 'kvr+jwt' };
const AGE = { leaf: 600, root: 900 };
const REQUIRED = ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti']; // RFC 9068, section 2.2
// What a JWT library sees for itself. Of what fails for another reason, the JWT is good.
const SEEN = new Set([
  'malformed', 'wrong_type', 'alg_not_allowed', 'unknown_key', 'bad_signature', 'expired', 'not_yet_valid',
  'audience_mismatch',
]);

const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));
const file = read('../../testdata/vectors.json');
const lax = new Set(read('differences.json').filter(({ libraries }) => libraries.includes('jose'))
  .flatMap(({ vectors }) => vectors));
const keys = createLocalJWKSet(file.jwks);

const token = ({ kind, token, now, audience }) => jwtVerify(token, keys, {
  algorithms: ['EdDSA', 'ES256'],
  typ: TYP[kind],
  issuer: file.issuer,
  audience: kind === 'root' ? file.issuer : audience,
  requiredClaims: REQUIRED,
  currentDate: new Date(now * 1000),
  clockTolerance: SKEW,
  maxTokenAge: AGE[kind],
});

// RFC 9449, section 4.3. Whether a proof was used before is for a server to remember.
async function proof({ kind, token, proof, method, uri, now }) {
  const { payload, key } = await jwtVerify(proof, EmbeddedJWK, {
    algorithms: ['EdDSA', 'Ed25519', 'ES256'],
    typ: 'dpop+jwt',
    requiredClaims: ['jti', 'htm', 'htu', 'iat'],
    currentDate: new Date(now * 1000),
  });
  must(payload.jti !== '' && payload.htm === method && place(payload.htu) === place(uri), 'another request');
  must(payload.iat <= now + SKEW && now - payload.iat <= PROOF_AGE, 'another time');
  if (kind === 'proof') return;
  const ath = kind === 'leaf' ? createHash('sha256').update(token).digest('base64url') : undefined;
  must(payload.ath === ath, 'another token');
  const { jkt, jwk } = decodeJwt(token).cnf ?? {};
  must((jkt ?? await calculateJwkThumbprint(jwk)) === await calculateJwkThumbprint(key), 'another key');
}

function place(url) {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}

function must(holds, why) {
  if (!holds) throw new Error(why);
}

let passed = 0;
const failures = [];
const stale = new Set(lax);

// One test: whether `check` of a vector gives what is expected of it.
async function hold(name, check, vector, refused) {
  const accepted = await check(vector).then(() => true, (error) => error.message);
  const expected = !refused || lax.has(name);
  if (refused) stale.delete(name);
  if ((accepted === true) === expected) passed += 1;
  else if (accepted !== true && refused) failures.push(`${name}: jose refuses it now (${accepted}): take it off the list`);
  else failures.push(`${name}: ${accepted === true ? 'jose accepts it, we do not' : `jose refuses it: ${accepted}`}`);
}

for (const members of file.vectors) {
  const vector = { ...file.defaults, ...members };
  const { name, kind, expect } = vector;
  const refused = SEEN.has(expect.code);
  if (kind in TYP) await hold(name, token, vector, refused);
  if ([...Object.keys(TYP), 'proof'].includes(kind) && typeof vector.proof === 'string' && !refused) {
    await hold(`${name} (proof)`, proof, vector, expect.code === 'proof_invalid');
  }
}
for (const name of stale) failures.push(`${name}: on the list of differences, but nothing that we refuse`);
for (const failure of failures) console.log(failure);
const word = failures.length === 0 && passed > 0 ? 'ok' : 'FAILED';
console.log(`test result: ${word}. ${passed} passed; ${failures.length} failed; 0 ignored`);
process.exitCode = word === 'ok' ? 0 : 1;
