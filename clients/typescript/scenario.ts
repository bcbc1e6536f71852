// The steps of ../scenario.md. CHATCTL_URLS=ws://…,ws://…,ws://… node scenario.ts
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { ChatError, Client, type Conversation, type Item, type Page, type Push, type To } from "./client.ts";
import { ackItems, history } from "./history.ts";
import { Link } from "./link.ts";

const [A, B, C] = (process.env.CHATCTL_URLS ?? "").split(",") as [string, string, string];
if (!C) throw new Error("CHATCTL_URLS must name three servers: ws://…,ws://…,ws://…");
const run = randomBytes(4).toString("hex");
const name = (of: string) => `${of}-${run}`;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what: string, holds: () => boolean) {
  for (const began = Date.now(); !holds(); await sleep(5)) if (Date.now() - began > 30_000) throw new Error(`not within 30 s: ${what}`);
}
async function refusal(asked: Promise<unknown>): Promise<ChatError> {
  const error = await asked.then(() => undefined, (error) => error);
  assert(error instanceof ChatError, `expected a refusal, got ${error}`);
  return error;
}
const same = (error: ChatError) => ({ code: error.code, message: error.message, field: error.field, temporary: error.temporary, definite: error.definite });

/** Somebody with one conversation open, who writes down what it tells. */
class Member {
  got: Item[] = [];
  pages: { page: Page; sameEpoch: boolean }[] = [];
  pushes: [string, Push][] = [];
  ended?: ChatError;
  chat!: Conversation;
  client: Client;
  constructor(user: string, url: string) {
    this.client = new Client({ urls: [url], user: name(user), client: "scenario" });
  }
  static async join(user: string, url: string, to: To, limit?: number): Promise<Member> {
    const member = new Member(user, url);
    await member.client.connect();
    member.chat = await member.open(to, limit);
    return member;
  }
  open(to: To, limit?: number) {
    return this.client.open(to, {
      message: (item) => this.got.push(item),
      page: (page, sameEpoch) => this.pages.push({ page, sameEpoch }),
      push: (name, body) => this.pushes.push([name, body]),
      ended: (error) => (this.ended = error),
    }, { limit });
  }
  async sendMany(count: number) {
    for (let n = 0; n < count; n++) await this.chat.send(`${n} of ${this.client.hello?.user}`);
  }
  has = (count: number) => until(`${count} messages for ${this.client.hello?.user}, has ${this.got.length}`, () => this.got.length >= count);
  get seqs() {
    return this.got.map((item) => item.seq);
  }
}
const numbers = (from: number, count: number) => Array.from({ length: count }, (_, n) => from + n);

async function direct() {
  const ann = await Member.join("ann", A, { user: name("bob") });
  const bob = await Member.join("bob", B, { user: name("ann") });
  assert.equal(bob.chat.page.online, true);
  await Promise.all([ann.sendMany(10), bob.sendMany(10)]);
  await Promise.all([ann.has(20), bob.has(20)]);
  assert.deepEqual(ann.seqs, numbers(1, 20));
  assert.deepEqual(ann.got, bob.got);
  ann.client.close();
  await until("bob is told that ann went", () => bob.pushes.some(([name, body]) => name === "presence" && body.online === false));
  return [ann, bob];
}

async function channel() {
  const all = await Promise.all([["ann", A], ["bob", B], ["carol", C]].map(([user, url]) => Member.join(user!, url!, { channel: name("room") })));
  await Promise.all(all.map((member) => member.sendMany(10)));
  await Promise.all(all.map((member) => member.has(30)));
  assert.deepEqual(all[0]!.seqs, numbers(1, 30));
  for (const other of all.slice(1)) assert.deepEqual(other.got, all[0]!.got);
  return all;
}

async function late() {
  const ann = await Member.join("ann", A, { user: name("bob-late") });
  const bob = await Member.join("bob-late", B, { user: name("ann") });
  const newest = await ann.chat.send("on time");
  await bob.has(1);
  assert.equal((await bob.chat.call("ack", { up_to: newest.seq })).unread, 0);
  const sent = await ann.chat.send("written before", { ts: newest.ts - 60_000 });
  assert.equal(sent.late, true);
  await bob.has(2);
  assert.deepEqual(bob.got.map((item) => item.late), [false, true]);
  const device = await Member.join("bob-late", C, { user: name("ann") }, 1);
  assert.deepEqual(device.chat.page.items.map((item) => item.seq), [newest.seq]);
  assert.deepEqual(device.chat.page.late, [bob.got[1]]);
  assert.equal(device.chat.page.unread_late, 1);
  const unread = [];
  for await (const item of history(device.chat, { late: true })) unread.push(item);
  assert.deepEqual(unread, [bob.got[1]]);
  await ackItems(bob.chat, unread);
  const after = await Member.join("bob-late", A, { user: name("ann") }, 1);
  assert.deepEqual([after.chat.page.late, after.chat.page.unread_late], [[], 0]);
  return [ann, bob, device, after];
}

async function resume() {
  const link = await Link.to(B);
  const ann = await Member.join("ann", A, { user: name("bob-away") });
  const bob = await Member.join("bob-away", link.url, { user: name("ann") });
  const onC = new Member("carol", C);
  await ann.sendMany(3);
  await bob.has(3);
  link.away = true;
  link.cut();
  await ann.sendMany(7);
  assert.equal(bob.got.length, 3);
  Object.assign(link, { target: C, away: false });
  await bob.has(10);
  assert.equal(bob.chat.page.recovered, true);
  assert.deepEqual(bob.chat.page.items.map((item) => item.seq), numbers(4, 7));
  assert.equal(bob.client.hello!.node, (await onC.client.connect()).node);
  await ann.sendMany(1);
  await bob.has(11);
  assert.deepEqual(bob.got, ann.got);
  assert.deepEqual(bob.seqs, numbers(1, 11));
  return [ann, bob, onC];
}

async function lostReply() {
  const link = await Link.to(B);
  const ann = await Member.join("ann", A, { user: name("bob-lost") });
  const bob = await Member.join("bob-lost", link.url, { user: name("ann") });
  link.deaf = true;
  const sending = bob.chat.send("once", { cid: "once" });
  await ann.has(1);
  link.deaf = false;
  link.cut();
  const sent = await sending;
  assert.deepEqual([sent.dup, sent.seq], [true, ann.got[0]!.seq]);
  for (const cid of ["cut-1", "cut-2", "cut-3"]) {
    const cut = bob.chat.send("cut", { cid });
    await sleep(0); // by now it is written
    link.cut();
    await cut;
  }
  await Promise.all([ann.has(4), bob.has(4)]);
  const stored = [];
  for await (const item of history(ann.chat, { order: "asc", limit: 2 })) stored.push(item);
  assert.deepEqual(stored.map((item) => item.cid), ["once", "cut-1", "cut-2", "cut-3"]);
  assert.deepEqual(ann.got, stored);
  assert.deepEqual(bob.got, stored);
  return [ann, bob];
}

async function gap() {
  const link = await Link.to(B);
  const senders = await Promise.all([["ann", A], ["carol", C], ["dan", B]].map(([user, url]) => Member.join(user!, url!, { channel: name("busy") })));
  const bob = await Member.join("bob", link.url, { channel: name("busy") });
  await senders[0]!.sendMany(1);
  await bob.has(1);
  link.away = true;
  link.cut();
  const each = Math.ceil((bob.client.hello!.limits.resume_max! + 1) / 3);
  await Promise.all(senders.map((sender) => sender.sendMany(each)));
  link.away = false;
  await bob.has(1 + 3 * each);
  await senders[0]!.sendMany(1);
  await bob.has(2 + 3 * each);
  const { page, sameEpoch } = bob.pages[0]!;
  assert.deepEqual([bob.pages.length, page.recovered, page.gap, page.unread_more, sameEpoch], [1, false, true, true, true]);
  assert.deepEqual(bob.seqs, numbers(1, 2 + 3 * each));
  assert.deepEqual(bob.got, senders[0]!.got);
  return [...senders, bob];
}

async function unread() {
  const ann = await Member.join("ann", A, { user: name("dave") });
  await ann.sendMany(5);
  const dave = new Member("dave", B);
  await dave.client.connect();
  const { items } = await dave.client.call("list", {});
  assert.deepEqual(items.map(({ to, head, unread }) => ({ to, head, unread })), [{ to: { user: name("ann") }, head: 5, unread: 5 }]);
  const chat = await dave.open({ user: name("ann") });
  assert.deepEqual([chat.page.unread, chat.page.acked], [5, { up_to: 0, ranges: [] }]);
  assert.deepEqual(await chat.call("ack", { up_to: 3 }), { acked: { up_to: 3, ranges: [] }, unread: 2 });
  assert.deepEqual(await ackItems(chat, chat.page.items.slice(4)), { acked: { up_to: 3, ranges: [[5, 6]] }, unread: 1 });
  assert.equal((await refusal(chat.call("ack", { up_to: 6 }))).code, "ack_above_head");
  assert.deepEqual(await chat.call("ack", { up_to: 5 }), { acked: { up_to: 5, ranges: [] }, unread: 0 });
  const device = await Member.join("dave", C, { user: name("ann") });
  assert.deepEqual([device.chat.page.unread, device.chat.page.acked.up_to], [0, 5]);
  await until("ann is told what dave has read", () => ann.pushes.some(([name, body]) => name === "acked" && body.up_to === 5));
  return [ann, dave, device];
}

async function forbidden() {
  const ann = new Member("ann", A);
  const bob = new Member("bob", B);
  await Promise.all([ann.client.connect(), bob.client.connect()]);
  const { group } = await ann.client.call("create", {});
  const chat = await ann.open({ group });
  const refused = await refusal(bob.open({ group }));
  assert.equal(refused.code, "not_found");
  assert.deepEqual(same(refused), same(await refusal(bob.open({ group: randomBytes(16).toString("base64url") }))));
  const unread = await refusal(bob.client.call("read", { conv: chat.id }));
  assert.equal(unread.code, "not_found");
  assert.deepEqual(same(unread), same(await refusal(bob.client.call("read", { conv: "x".repeat(chat.id.length) }))));
  await chat.call("invite", { user: name("bob") });
  bob.chat = await bob.open({ group });
  await chat.send("welcome");
  await bob.has(1);
  await chat.call("remove", { user: name("bob") });
  await until("bob is told that the group ended for him", () => bob.ended !== undefined);
  assert.equal(bob.ended!.code, "not_found");
  return [ann, bob];
}

async function errors() {
  const ann = await Member.join("ann", A, { user: name("erin") });
  const first = await ann.chat.send("one", { cid: "same" });
  const conflict = await refusal(ann.chat.send("two", { cid: "same" }));
  const future = await refusal(ann.chat.send("early", { ts: Date.now() + ann.client.hello!.limits.future_skew_ms_max! + 60_000 }));
  const empty = await refusal(ann.chat.send(""));
  const cursor = await refusal(ann.chat.call("read", { cursor: "" }));
  assert.deepEqual([conflict.code, future.code, empty.code, cursor.code], ["conflict", "ts_in_future", "invalid_field", "bad_cursor"]);
  assert.equal(empty.field, "content");
  for (const error of [conflict, future, empty, cursor]) assert.deepEqual([error.definite, error.temporary], [true, false]);
  assert.equal((await ann.chat.send("two")).seq, first.seq + 1);
  return [ann];
}

const steps: [string, () => Promise<Member[]>][] = [
  ["direct: both ways over two nodes, one order", direct],
  ["channel: three users on three nodes, one order", channel],
  ["late: flagged, and shown until acknowledged", late],
  ["resume: exactly what was missed, from another node", resume],
  ["lost reply: the same cid again is stored once", lostReply],
  ["gap: more missed than resume_max is told, and filled from history", gap],
  ["unread: counts and acknowledgements", unread],
  ["forbidden is missing: equal errors", forbidden],
  ["errors: codes, and nothing done", errors],
];
for (const [what, step] of steps) {
  try {
    const tooLong = sleep(60_000).then(() => Promise.reject(new Error("it took more than 60 s")));
    for (const member of await Promise.race([step(), tooLong])) member.client.close();
    console.log(`ok: ${what}`);
  } catch (error) {
    console.log(`failed: ${what}: ${error instanceof Error ? error.stack : error}`);
    process.exit(1);
  }
}
process.exit(0);
