// The older program once more, with the client that the shop itself uses (ioredis), in its own language.
// It takes the same orders as tests/older_program.py, one JSON object a line, and answers each with a line.

const readline = require("node:readline");
const Redis = require("ioredis");

const PREFIX = "checkout:session:";
const INDEX = "checkout:index";
const STATISTICS = "checkout:stats";
const LIFE = 1800;
const FIELDS = process.env.SHOP_FIELDS.split(",");

const client = new Redis({ host: process.env.REDIS_HOST, port: Number(process.env.REDIS_PORT) });
client.on("error", () => {}); // it connects again by itself, and repeats what was not answered
const counts = {};

const count = (what) => (counts[what] = (counts[what] ?? 0) + 1);

async function write(session, fresh = false) {
  let written = { ...session, expiresAt: new Date(Date.now() + LIFE * 1000).toISOString() };
  if (fresh) {
    written = Object.fromEntries(FIELDS.filter((name) => name in written).map((name) => [name, written[name]]));
  }
  await client.setex(PREFIX + session.checkoutId, LIFE, JSON.stringify(written));
  return written;
}

const program = {
  async get({ checkout_id }) {
    const value = await client.get(PREFIX + checkout_id);
    let session = null;
    try {
      session = JSON.parse(value);
    } catch {
      return null;
    }
    if (session !== null && new Date(session.expiresAt) < new Date()) {
      await program.delete({ checkout_id });
      return null;
    }
    return session;
  },

  async create({ checkout_id, fields }) {
    const state = { paymentStatus: "pending", paymentAttempts: 0, createdAt: new Date().toISOString() };
    const session = await write({ checkoutId: checkout_id, ...fields, ...state });
    await client.sadd(INDEX, checkout_id).catch(() => count("additions"));
    await client.hincrby(STATISTICS, "totalCreated", 1);
    await client.hincrby(STATISTICS, "activeSessions", 1);
    return session;
  },

  async update({ checkout_id, changes, fresh }) {
    const session = await program.get({ checkout_id });
    return session === null ? null : write({ ...session, ...changes }, fresh);
  },

  async pay({ checkout_id, order_id, fresh, delete: deletes }) {
    const changes = { paymentStatus: "paid", databaseOrderId: order_id };
    const session = await program.update({ checkout_id, changes, fresh });
    if (session !== null) {
      await client.hincrby(STATISTICS, "totalCompleted", 1);
      if (deletes) await program.delete({ checkout_id });
    }
    return session;
  },

  async delete({ checkout_id }) {
    await client.del(PREFIX + checkout_id);
    await client.srem(INDEX, checkout_id).catch(() => count("removals"));
    await client.hincrby(STATISTICS, "activeSessions", -1);
    return null;
  },

  async all() {
    const keys = await client.keys(PREFIX + "*");
    const values = keys.length ? await client.mget(keys) : [];
    const sessions = values.filter((value) => value !== null).map((value) => JSON.parse(value));
    for (const session of sessions) if (session === null) throw new Error("null is no session");
    return sessions;
  },

  async counts() {
    return counts;
  },

  // What JSON.parse and JSON.stringify make of a text.
  async echo({ text }) {
    return JSON.stringify(JSON.parse(text));
  },
};

async function main() {
  console.log(JSON.stringify({ answer: "ready" }));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    try {
      console.log(JSON.stringify({ answer: (await program[order.do](order.with)) ?? null }));
    } catch (error) {
      console.log(JSON.stringify({ refused: `${error.name}: ${error.message}` }));
    }
  }
  client.disconnect();
}

main();
