// One `batch()` of a D1 database over HTTP: the executor's only way in. `POST /<binding>` takes
// `[{ sql, params }]` and answers `{ rows }`, a list of rows for each statement, or `{ error }` in D1's own words.

export default {
  async fetch(request, env) {
    const database = env[new URL(request.url).pathname.slice(1)];
    if (!database) return new Response("no such database", { status: 404 });
    const statements = await request.json();
    try {
      const prepared = statements.map(({ sql, params }) => database.prepare(sql).bind(...params.map(bound)));
      const results = await database.batch(prepared);
      return Response.json({ rows: results.map(({ results }) => results.map(cells)) });
    } catch (error) {
      return Response.json({ error: error.message });
    }
  },
};

function bound(param) {
  if (param === null || typeof param !== "object") return param;
  return Uint8Array.from(param.hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}

// D1 gives rows as objects: names must be distinct, which is the executor's business.
function cells(row) {
  return Object.values(row).map((value) => {
    if (Array.isArray(value)) return { hex: value.map((byte) => byte.toString(16).padStart(2, "0")).join("") };
    // Beyond 2^53 a number is no longer the one that is stored.
    if (typeof value === "number" && !Number.isSafeInteger(value)) return { inexact: true };
    return value;
  });
}
