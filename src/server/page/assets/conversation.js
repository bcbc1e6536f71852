import { AckSet, rangesOf } from "./ack_set.js";
import { deferred, settle, sleep } from "./connection.js";
import { Timeline } from "./timeline.js";

const ACK_DELAY_MS = 400;
const LATE_SHOWN_MAX = 1000;

// `crypto.randomUUID` is only there on pages over TLS or on loopback.
const newCid = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** A conversation of one session: its messages, what is unread, and what is being sent. It opens again by itself while it is entered. */
export class Conversation {
  id;
  timeline = new Timeline();
  acked = new AckSet();
  unread = 0;
  unreadMore = false;
  /** Unread on-time messages older than what is loaded; at least this many. */
  unreadBefore = 0;
  /** Direct chats: whether the other one is there (`undefined`: unknown), and up to which number they have read. */
  online;
  peerUpTo = 0;
  /** Own messages without an answer yet: `{cid, content, ts, error?}`. */
  outbox = [];
  /** Groups: `{owner, members}`, once it is known. */
  roster;
  /** Whether the server tells what comes. */
  isOpen = false;
  /** Why it cannot be opened. */
  failure;
  #client;
  #on;
  #epoch;
  #last = 0;
  #turn; // of `enter`: another one, or none, ends the loop of this one
  #ready = deferred();
  #again = deferred();
  #sending = Promise.resolve();
  #seen = new Set();
  #ackTimer;
  #loading = false;

  /**
   * `on.change()`: something to show is different; `on.arrived(item)`: a message of this moment; `on.opened({recovered, missed})`: open again;
   * `on.unsent(outbox)`: what to keep for a later life of the tab, which gives it here again.
   */
  constructor(client, to, on, unsent = []) {
    this.#client = client;
    this.to = to;
    this.#on = on;
    this.outbox = unsent.map((entry) => ({ ...entry }));
    for (const entry of this.outbox) this.#dispatch(entry);
  }

  get user() {
    return this.#client.user;
  }
  isOwn(item) {
    return item.from === this.user;
  }
  isUnread(item) {
    return !this.isOwn(item) && !this.acked.has(item.seq);
  }
  /** Messages that arrived late and have not been read, among those loaded. */
  get unreadLate() {
    return this.timeline.items.filter((item) => item.late && this.isUnread(item));
  }

  /** Opens it, and again after each end of the connection, until `leave`. */
  async enter() {
    if (this.#turn) return;
    const turn = (this.#turn = {});
    this.failure = undefined;
    while (this.#turn === turn) {
      const again = (this.#again = deferred());
      const query = () => ({ to: this.to, limit: 20, resume: this.#epoch === undefined ? undefined : { epoch: this.#epoch, seq: this.#last } });
      try {
        const [, connection] = await settle(() => this.#client.connection, "open", query, { patient: true, onReply: this.#opened });
        await Promise.race([connection.lost, again.promise]);
        this.#ready = deferred();
        this.isOpen = false;
        this.online = undefined;
        this.#on.change();
      } catch (error) {
        if (this.#turn === turn) this.#turn = undefined;
        this.failure = error;
        this.#on.change();
      }
    }
  }
  /** No more pushes; what was loaded stays, and `enter` goes on from there. While something is being sent it stays open. */
  leave() {
    if (!this.#turn || this.outbox.some((entry) => !entry.error)) return;
    if (this.#seen.size > 0) void this.#acknowledge();
    this.#turn = undefined;
    if (this.id) this.#leave(this.id);
    this.#again.resolve();
  }
  #leave(conv) {
    this.#client.call("leave", { conv }).catch(() => {}); // fails only when the session is over
  }

  /** With `ts` the message says when it was written; without, the server stamps it. Sent until it is known what became of it. */
  send(content, ts) {
    const entry = { cid: newCid(), content, ts };
    this.#setOutbox([...this.outbox, entry]);
    this.#dispatch(entry);
  }
  retry(entry) {
    entry.error = undefined;
    this.#dispatch(entry);
  }
  discard(entry) {
    this.#setOutbox(this.outbox.filter((other) => other !== entry));
    this.#on.change();
  }
  #setOutbox(entries) {
    if (entries.length === this.outbox.length) return;
    this.outbox = entries;
    this.#on.unsent(entries);
  }

  /** Groups: `invite`, `remove` (both `{user}`), `quit`. */
  manage(method, body) {
    return this.#call(method, () => body);
  }
  async #loadRoster() {
    this.roster = await this.#call("roster", () => ({})).catch(() => undefined); // whoever is no member is told so elsewhere
    this.#on.change();
  }

  /** Older messages, one page; the unread among them count down `unreadBefore`. */
  async loadOlder(limit) {
    if (this.#loading || this.timeline.next === undefined) return;
    this.#loading = true;
    const timeline = this.timeline;
    try {
      const cursor = timeline.next;
      const { items, next } = await this.#call("read", () => ({ order: "desc", limit, cursor }));
      if (timeline !== this.timeline) return;
      timeline.addOlder(items, next);
      const found = items.filter((item) => !item.late && this.isUnread(item)).length;
      this.unreadBefore = next === undefined ? 0 : Math.max(this.unreadMore ? 1 : 0, this.unreadBefore - found);
    } finally {
      this.#loading = false;
      this.#on.change();
    }
  }

  /** The reader has had this message before their eyes. */
  see(seq) {
    const item = this.timeline.get(seq);
    if (!item || !this.isUnread(item)) return;
    this.#seen.add(seq);
    this.#ackTimer ??= setTimeout(() => this.#acknowledge(), ACK_DELAY_MS);
  }

  onPush(name, body) {
    if (name === "msg") this.#message(body);
    else if (name === "reset") this.#again.resolve();
    else if (name === "presence" && body.user !== this.user) this.online = body.online;
    else if (name === "acked" && body.user === this.user) this.#setAcked(body);
    else if (name === "acked") this.peerUpTo = Math.max(this.peerUpTo, body.up_to);
    else if (name === "members") void this.#loadRoster();
    else if (name === "removed") {
      this.#turn = undefined;
      this.#again.resolve();
      this.failure = new Error("you are not in this group any more");
    }
    this.#on.change();
  }

  #call(method, body) {
    return settle(() => this.#ready.promise, method, () => ({ conv: this.id, ...body() })).then(([reply]) => reply);
  }

  #opened = (page, connection) => {
    if (!this.#turn) return this.#leave(page.conv);
    const again = this.#epoch !== undefined;
    const known = page.recovered ? this.#last : 0;
    this.id = page.conv;
    this.isOpen = true;
    this.#epoch = page.epoch;
    this.#last = page.head;
    this.acked = new AckSet(page.acked);
    this.unread = page.unread;
    this.unreadMore = page.unread_more ?? false;
    this.online = page.online;
    if (page.recovered) {
      for (const item of page.items) this.#keep(item);
    } else {
      this.timeline = Timeline.of(page);
      this.unreadBefore = page.unread_before ?? 0;
      for (const item of this.timeline.items) this.#settleOwn(item);
    }
    this.#ready.resolve(connection);
    if (this.to.group !== undefined) void this.#loadRoster();
    if (page.recovered ? page.unread_late > 0 : page.late_next) void this.#loadLate(page.late_next);
    this.#on.opened({ again, recovered: page.recovered ?? false, missed: page.head - known });
    this.#on.change();
  };

  async #loadLate(cursor) {
    const timeline = this.timeline;
    let shown = 0;
    do {
      const { items, next } = await this.#call("read", () => ({ late: true, limit: 100, cursor }));
      if (timeline !== this.timeline) return;
      for (const item of items) timeline.add(item);
      shown += items.length;
      cursor = next;
      this.#on.change();
    } while (cursor && shown < LATE_SHOWN_MAX);
  }

  #message(item) {
    if (item.seq <= this.#last) return;
    if (item.seq > this.#last + 1) return this.#again.resolve(); // not promised to happen: resume brings what is missing
    this.#last = item.seq;
    if (this.isUnread(item)) this.unread++;
    if (this.to.user !== undefined && !this.isOwn(item)) this.online ??= true; // the server tells changes; whoever writes is there
    if (this.#keep(item)) this.#on.arrived(item);
  }
  #keep(item) {
    this.#settleOwn(item);
    return this.timeline.add(item);
  }
  #settleOwn(item) {
    if (this.isOwn(item)) this.#setOutbox(this.outbox.filter(({ cid }) => cid !== item.cid));
  }

  // One at a time, so that the order of writing is the order of storing.
  #dispatch(entry) {
    this.#on.change();
    this.#sending = this.#sending.then(async () => {
      await this.#ready.promise.catch(() => {}); // the page that comes with it may show that it was stored
      if (!this.outbox.includes(entry)) return;
      try {
        await this.#store(entry);
      } catch (error) {
        if (error.code !== "ts_in_future") entry.error = error;
        else {
          entry.ts = undefined; // this clock is wrong: let the server's count
          await this.#store(entry).catch((again) => (entry.error = again));
        }
      }
      this.#on.change();
    });
  }
  async #store({ cid, content, ts }) {
    const sent = await this.#call("send", () => ({ cid, type: "text", content, ts }));
    // Its push takes it out of the outbox, but there is none where a fresh page came meanwhile.
    if (sent.seq <= this.#last) this.#setOutbox(this.outbox.filter((entry) => entry.cid !== cid));
  }

  async #acknowledge() {
    const seen = [...this.#seen].filter((seq) => !this.acked.has(seq));
    this.#seen.clear();
    let upTo = this.acked.up_to;
    const isRead = (item) => item && (!this.isUnread(item) || seen.includes(item.seq));
    while (isRead(this.timeline.get(upTo + 1))) upTo++;
    const ranges = rangesOf(seen.filter((seq) => seq > upTo)).slice(0, 100);
    const body = { up_to: upTo > this.acked.up_to ? upTo : undefined, ranges: ranges.length > 0 ? ranges : undefined };
    try {
      if (body.up_to !== undefined || body.ranges) this.#setAcked(await this.#call("ack", () => body));
      for (const seq of seen) if (!this.acked.has(seq)) this.#seen.add(seq); // more ranges than fit in one command
    } catch (error) {
      if (error.temporary) {
        await sleep(1000);
        for (const seq of seen) this.#seen.add(seq);
      }
    }
    this.#ackTimer = this.#seen.size > 0 ? setTimeout(() => this.#acknowledge(), ACK_DELAY_MS) : undefined;
    this.#on.change();
  }
  #setAcked(reply) {
    const { up_to, ranges } = reply.acked ?? reply;
    this.acked = new AckSet({ up_to, ranges });
    if (reply.unread !== undefined) {
      this.unread = reply.unread;
      this.unreadMore = reply.unread_more ?? false;
    } else this.unread = this.timeline.items.filter((item) => this.isUnread(item)).length + this.unreadBefore;
  }
}
