import type { Client } from "./client.ts";
import { type Ask, ChatError, closed, type Handlers, type InConversation, type Item, type Page, type Push, type Reply, type Resume, type Sent, type To } from "./protocol.ts";

type Body<M extends InConversation> = Omit<Ask<M>, "conv">;

/** An open conversation, made by `Client.open`. */
export class Conversation {
  id = "";
  /** The last answer of `open`: the first one, or that after a reconnect. */
  page!: Page;
  /** The highest `seq` handed over. With `page.epoch` it is what to keep for `resume` in a later run of the program. */
  last: number;
  isOpen = false;
  /** Why it is over: it was left, or could not be opened again. */
  ended?: ChatError;
  #client: Client;
  #request: { to: To; limit?: number };
  #on: Handlers;
  #epoch?: string;
  #want = 0;
  #isFilling = false;
  #sending: Promise<unknown> = Promise.resolve();

  constructor(client: Client, request: { to: To; limit?: number }, on: Handlers, resume?: Resume) {
    [this.#client, this.#request, this.#on] = [client, request, on];
    [this.#epoch, this.last] = [resume?.epoch, resume?.seq ?? 0];
  }
  /** Sent again with the same `cid` until it is known what became of it; choose and keep `cid` where the program may end before. One at a time: the order is yours. */
  send(content: string, { cid = crypto.randomUUID(), type = "text", ts }: { cid?: string; type?: string; ts?: number } = {}): Promise<Sent> {
    const sent = this.#sending.then(() => this.call("send", () => ({ cid, type, content, ts })));
    this.#sending = sent.catch(() => {});
    return sent;
  }
  /** Any other method of a conversation: `read`, `ack`, `invite`, `remove`, `quit`. */
  call<M extends InConversation>(method: M, body: Body<M> | (() => Body<M>)): Promise<Reply<M>> {
    const now = () => ({ conv: this.id, ...(typeof body === "function" ? body() : body) });
    return new Promise((resolve, reject) => this.#client.ask({ method, body: now, chat: this, resolve, reject }));
  }
  async leave() {
    await this.call("leave", {});
    this.#client.forget(this, closed("left"));
  }
  /** `Client` calls it: opens, and opens again when the connection or the stream has ended. */
  open(): Promise<void> {
    this.isOpen = false;
    this.#client.takeBack(this);
    const body = () => ({ ...this.#request, resume: this.#epoch === undefined ? undefined : { epoch: this.#epoch, seq: this.last } });
    return new Promise((done, failed) => {
      const resolve = (page: Page) => (this.#start(page), done());
      const reject = (error: ChatError) => {
        failed(error);
        if (error.code === "closed" || !this.id) return;
        this.#client.forget(this, error);
        this.#on.ended?.(error);
      };
      this.#client.ask({ method: "open", body, chat: this, resolve, reject });
    });
  }
  #start(page: Page) {
    const isFirst = this.#epoch === undefined;
    const sameEpoch = page.epoch === this.#epoch && page.head >= this.last;
    if (!sameEpoch) this.last = page.head;
    [this.page, this.id, this.#epoch, this.#want, this.isOpen] = [page, page.conv, page.epoch, page.head, true];
    this.#client.conversations.set(this.id, this);
    if (page.recovered) page.items.forEach(this.#take);
    else if (!isFirst) queueMicrotask(() => this.#on.page?.(page, sameEpoch));
    void this.#fill();
    this.#client.flush();
  }
  /** `Client` calls it. */
  onPush(name: string, body: Push) {
    if (name === "msg") {
      const { conv, ...item } = body;
      this.#want = Math.max(this.#want, item.seq);
      this.#take(item as Item);
      void this.#fill();
    } else if (name === "reset" || name === "removed") this.open().catch(() => {}); // it tells what became of it
    else queueMicrotask(() => this.#on.push?.(name, body));
  }
  // The only way out for messages: each follows the last. By microtasks, so that an error in a handler harms nothing here.
  #take = (item: Item) => {
    if (item.seq !== this.last + 1) return;
    this.last++;
    queueMicrotask(() => this.#on.message(item));
  };
  // What neither a page nor a push has brought is in history, and with it what was pushed too early.
  async #fill() {
    if (this.#isFilling) return;
    this.#isFilling = true;
    try {
      while (this.last < this.#want) {
        const epoch = this.#epoch;
        const { items } = await this.call("read", () => ({ after_seq: this.last, limit: this.#client.hello!.limits.read_limit_max }));
        if (epoch === this.#epoch) items.forEach(this.#take);
      }
    } catch {
      // Only when the conversation or the client ends, which is told.
    } finally {
      this.#isFilling = false;
    }
  }
}
