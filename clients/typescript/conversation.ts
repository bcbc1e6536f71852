import type { Client } from "./client.ts";
import { type Connection, deferred, settle, sleep } from "./connection.ts";
import { type Acked, ChatError, closed, type Item, type Page, type Push, type Read, type Sent, type To, type Unread } from "./protocol.ts";

/** What a conversation tells. Calls come one at a time, in the order of events. */
export interface Handlers {
  /** Each message after the first page: once, by `seq`. */
  message(item: Item): void;
  /** The server could not simply continue. Same `epoch`: what was missed follows as messages. Another one: this page stands for all before it. */
  page?(page: Page, sameEpoch: boolean): void;
  /** `acked`, `presence`, `members`: best effort. */
  push?(name: string, body: Push): void;
  /** It could not be opened again: `not_found` after a removal from a group. */
  ended?(error: ChatError): void;
}

/** An open conversation, made by `Client.open`. */
export class Conversation {
  id = "";
  /** The last answer of `open`: the first one, or that after a reconnect. */
  page!: Page;
  /** The highest `seq` handed over. With `page.epoch` it is what to keep for `resume` in a later run of the program. */
  last: number;
  #client: Client;
  #on: Handlers;
  #request: object;
  #epoch?: string;
  #want = 0;
  #held = new Map<number, Item>();
  #filling = false;
  #isOpen = false;
  #ready = deferred<Connection>();
  #again = deferred<void>();
  #left = false;
  #sending: Promise<unknown> = Promise.resolve();

  constructor(client: Client, to: To, handlers: Handlers, limit?: number, resume?: { epoch: string; seq: number }) {
    this.#client = client;
    this.#on = handlers;
    this.#request = { to, limit };
    this.#epoch = resume?.epoch;
    this.last = resume?.seq ?? 0;
  }

  /** Sent again with the same `cid` until it is known what became of it; choose and keep `cid` where the program may end before. One at a time: the order is yours. */
  send(content: string, { cid = crypto.randomUUID(), type = "text", ts }: { cid?: string; type?: string; ts?: number } = {}): Promise<Sent> {
    const sent = this.#sending.then(() => this.call<Sent>("send", { cid, type, content, ts }));
    this.#sending = sent.catch(() => {});
    return sent;
  }
  /** One page of history. */
  read(query: Read): Promise<{ items: Item[]; next?: string }> {
    return this.call("read", query);
  }
  /** History to its end. `{ late: true }`: all that is late and unread. */
  async *history(query: Read = {}): AsyncGenerator<Item> {
    for (let cursor = query.cursor; ; ) {
      const { items, next } = await this.read({ ...query, cursor });
      yield* items;
      if (!(cursor = next)) return;
    }
  }
  /** Everything up to a `seq`, or exactly these messages: the latter while `page.gap` or `page.late_next` says that more is unread than was shown. */
  async ack(shown: number | Item[]): Promise<{ acked: Acked } & Unread> {
    if (typeof shown === "number") return this.call("ack", { up_to: shown });
    const ranges: [number, number][] = [];
    for (const { seq } of [...shown].sort((one, other) => one.seq - other.seq)) {
      const top = ranges.at(-1);
      if (top && seq <= top[1]) top[1] = seq + 1;
      else ranges.push([seq, seq + 1]);
    }
    for (;;) {
      const some = ranges.splice(0, this.#client.hello?.limits.ack_ranges_max);
      const reply = await this.call<{ acked: Acked } & Unread>("ack", { ranges: some });
      if (ranges.length === 0) return reply;
    }
  }
  async leave(): Promise<void> {
    this.#left = true;
    await this.call("leave", {});
    this.#client.conversations.delete(this.id);
    this.#close();
  }
  /** Any other method of a conversation: `invite`, `remove`, `quit`. */
  async call<T>(method: string, body: object, patient = false): Promise<T> {
    return (await settle<T>(this.opened, method, { conv: this.id, ...body }, patient))[0];
  }

  /** Opens, and opens again whenever the connection or the stream has ended. `Client` calls it. */
  async run(): Promise<void> {
    this.#ready = deferred();
    while (!this.#left) {
      this.#again = deferred();
      const resume = this.#epoch === undefined ? undefined : { epoch: this.#epoch, seq: this.last };
      try {
        const [, connection] = await settle<Page>(() => this.#client.connection, "open", { ...this.#request, resume }, true, this.#start);
        await Promise.race([connection.lost, this.#again.promise]);
        this.#close();
      } catch (error) {
        this.#ready.reject(error);
        if (!(error instanceof ChatError) || error.code === "closed" || !this.id) return;
        this.#client.conversations.delete(this.id);
        return this.#on.ended?.(error);
      }
    }
    this.#ready.reject(closed("left"));
  }
  opened = () => this.#ready.promise;

  #close() {
    if (this.#isOpen) this.#ready = deferred();
    this.#isOpen = false;
    this.#again.resolve();
  }

  #start = (page: Page, connection: Connection) => {
    const first = this.#epoch === undefined;
    const sameEpoch = page.epoch === this.#epoch && page.head >= this.last;
    if (!sameEpoch) this.last = page.head;
    this.#epoch = page.epoch;
    this.#want = page.head;
    this.#held = new Map(page.recovered ? page.items.map((item) => [item.seq, item]) : []);
    if (!page.recovered && !first) queueMicrotask(() => this.#on.page?.(page, sameEpoch));
    this.page = page;
    this.id = page.conv;
    this.#client.conversations.set(this.id, this);
    this.#isOpen = true;
    this.#ready.resolve(connection);
    this.#deliver();
  };

  /** `Client` calls it. */
  onPush(name: string, body: Push) {
    if (name === "msg") {
      const { conv, ...rest } = body;
      const item = rest as Item;
      if (item.seq > this.last && this.#held.size < 1000) this.#held.set(item.seq, item); // others are read when it is their turn
      this.#want = Math.max(this.#want, item.seq);
      this.#deliver();
    } else if (name === "reset" || name === "removed") this.#close(); // opening again tells what became of it
    else queueMicrotask(() => this.#on.push?.(name, body));
  }

  // The only way out for messages: each follows the last. By microtasks, so that an error in a handler harms nothing here.
  #deliver() {
    for (let item; (item = this.#held.get(this.last + 1)); ) {
      const next = item;
      this.#held.delete(++this.last);
      queueMicrotask(() => this.#on.message(next));
    }
    if (this.last < this.#want) this.#fill().catch(() => {}); // it fails only when the conversation or the client ends, which is told
  }

  async #fill() {
    if (this.#filling) return;
    this.#filling = true;
    try {
      while (this.last < this.#want) {
        const epoch = this.#epoch;
        const limit = this.#client.hello?.limits.read_limit_max;
        const { items } = await this.call<{ items: Item[] }>("read", { after_seq: this.last, limit }, true);
        if (epoch !== this.#epoch) continue;
        for (const item of items) if (item.seq > this.last) this.#held.set(item.seq, item);
        if (items.length === 0) await sleep(100);
        this.#deliver();
      }
    } finally {
      this.#filling = false;
    }
  }
}
