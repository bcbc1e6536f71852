// A client for chatctl servers on the standard WebSocket (browsers, Node 22 and newer). It reconnects, resumes, fills gaps and sends again,
// so that each message is stored once, and handed over once and in order. `protocol.ts` is types.
import { backoff, ChatError, closeCode, closed, isFinal } from "./protocol.ts";
import type { Ask, Handlers, Hello, InConversation, Item, Method, Options, Page, Push, Reply, Resume, Sent, To } from "./protocol.ts";
export * from "./protocol.ts";

/** Asked until there is a definite answer, on this connection or a later one; `body` is made each time. With `id` it is written on this one. */
interface Command {
  method: Method; body(): object; chat?: Conversation; id?: number;
  resolve(reply: any): void; reject(error: ChatError): void;
}
const mustWait = ({ method, chat }: Command) => chat?.isOpening && method !== "open";

export class Client {
  /** `token` may be replaced: the next connection shows it. */
  readonly options: Options;
  /** The open ones, by `conv`. */
  readonly conversations = new Map<string, Conversation>();
  /** Of the newest connection: limits, node, and more. */
  hello?: Hello;
  #commands = new Set<Command>(); // asked and not answered, in this order
  #socket?: WebSocket;
  #id = 0; // of the newest frame; 0 until the server has let us in, by its answer to the first one
  #isQuiet = true; // since the last look
  #tries = 0; // in a row
  #attempt = 0;
  #timer?: ReturnType<typeof setTimeout>; // looks while there is a connection, dials while there is none
  #ended?: ChatError = closed("connect first");

  constructor(options: Options) {
    this.options = { ...options };
  }
  /** Resolves when the server has let us in; fails when it never will. From now on it tries by itself, until `close`. */
  async connect(): Promise<Hello> {
    if (this.#ended) this.#dial();
    await this.call("ping", {});
    return this.hello!;
  }
  /** Open each conversation once; `resume` goes on where an earlier run of the program stopped. */
  open(to: To, handlers: Handlers, { limit, resume }: { limit?: number; resume?: Resume } = {}): Promise<Conversation> {
    return new Conversation(this, { to, limit }, handlers, resume).open();
  }
  /** A method that needs no open conversation: `list`, `create`, `refresh`, `ping`. */
  call<M extends Method>(method: M, body: Ask<M>): Promise<Reply<M>> {
    return new Promise((resolve, reject) => this.ask({ method, body: () => body, resolve, reject }));
  }
  close(error = closed("by the program")) {
    this.#hangUp();
    this.#ended = error;
    for (const { reject } of this.#commands) reject(error);
    this.#commands.clear();
    if (error.closeCode) this.options.closed?.(error);
  }
  /** `Conversation` calls it, also with what is asked already. */
  ask(command: Command) {
    if (this.#ended) return command.reject(this.#ended);
    this.#commands.add(command);
    this.#flush();
  }

  #dial() {
    const { urls, user, token, client } = this.options;
    const socket = new WebSocket(urls[this.#attempt++ % urls.length]!);
    socket.onopen = () => socket.send(JSON.stringify({ id: 1, hello: { user, token, client } }));
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    socket.onerror = () => this.#lost(1006, "connection failed"); // Node 22 tells no `close` where the handshake fails
    [this.#socket, this.#ended, this.#isQuiet] = [socket, undefined, true];
    this.#timer = setInterval(() => this.#look(), 10_000);
    for (const chat of this.conversations.values()) chat.open();
  }
  // A dead link says nothing, and a browser does not show the server's pings: ask, and take silence for the end.
  #look() {
    if (this.#isQuiet) return this.#lost(1006, "no answer");
    this.#isQuiet = true;
    this.#tries = 0; // it has held
    this.call("ping", {}).catch(() => {});
  }
  #flush() {
    for (const command of this.#commands) {
      if (!this.#id || command.id || mustWait(command)) continue;
      command.id = ++this.#id;
      this.#socket!.send(JSON.stringify({ id: command.id, [command.method]: command.body() }));
    }
  }
  #hear({ id = 0, ...frame }: Record<string, any>) {
    this.#isQuiet = false;
    const [name, body] = Object.entries<any>(frame)[0]!;
    const command = [...this.#commands].find((asked) => asked.id === id);
    const chat = name === "listed" ? undefined : this.conversations.get(body.conv);
    if (command) this.#answer(command, name, body);
    else if (id === 1 && name === "error") this.#lost(closeCode(body), body.message, body.retry_after_ms);
    else if (id === 1) [this.hello, this.#id] = [body, 1];
    else if (id === 0 && chat) chat.hear(name, body);
    else if (id === 0) queueMicrotask(() => this.options.push?.(name, body));
    this.#flush();
  }
  #answer(command: Command, name: string, body: any) {
    this.#commands.delete(command);
    command.id = undefined;
    if (name !== "error") return command.resolve(body);
    const error = new ChatError(body);
    if (!error.temporary && !mustWait(command)) return command.reject(error);
    setTimeout(() => this.ask(command), (error.retryAfterMs ?? 0) + backoff(3));
  }
  #lost(code: number, reason: string, waitMs = 0) {
    if (isFinal(code)) return this.close(closed(reason || `close code ${code}`, code));
    this.#hangUp();
    this.#timer = setTimeout(() => this.#dial(), Math.max(waitMs, backoff(++this.#tries)));
  }
  #hangUp() {
    clearTimeout(this.#timer);
    if (this.#socket) this.#socket.onmessage = this.#socket.onclose = this.#socket.onerror = null;
    this.#socket?.close();
    this.#id = 0;
    for (const command of this.#commands) command.id = undefined;
  }
}

/** An open conversation, made by `Client.open`. */
export class Conversation {
  id = "";
  /** The last answer of `open`: the first one, or that after a reconnect. */
  page!: Page;
  /** The highest `seq` handed over. With `page.epoch` it is what to keep for `resume` in a later run of the program. */
  last: number;
  /** Nothing else is written before `open` is answered. */
  isOpening = false;
  #client: Client;
  #on: Handlers;
  #epoch?: string;
  #want = 0;
  #sending: Promise<unknown> = Promise.resolve();
  #opened = Promise.withResolvers<Conversation>();
  // Asked once at a time: the client holds each command once.
  #opening: Command;
  #reading: Command;

  constructor(client: Client, request: { to: To; limit?: number }, on: Handlers, resume?: Resume) {
    [this.#client, this.#on, this.#epoch, this.last] = [client, on, resume?.epoch, resume?.seq ?? 0];
    const open = () => ({ ...request, resume: this.#epoch ? { epoch: this.#epoch, seq: this.last } : undefined });
    this.#opening = { method: "open", body: open, chat: this, resolve: (page) => this.#start(page), reject: (error) => this.#over(error) };
    const read = () => ({ conv: this.id, after_seq: this.last, limit: client.hello!.limits.read_limit_max });
    this.#reading = { method: "read", body: read, chat: this, resolve: ({ items }) => this.#take(items), reject: () => {} };
  }
  /**
   * Sent again with the same `cid` until it is known what became of it; choose and keep `cid` where the program may end before.
   * One at a time: the order is yours.
   */
  send(content: string, { cid = crypto.randomUUID(), type = "text", ts }: { cid?: string; type?: string; ts?: number } = {}): Promise<Sent> {
    const sent = this.#sending.then(() => this.call("send", { cid, type, content, ts }));
    this.#sending = sent.catch(() => {});
    return sent;
  }
  /** Any other method of a conversation: `read`, `ack`, `invite`, `remove`, `quit`. */
  call<M extends InConversation>(method: M, body: Omit<Ask<M>, "conv">): Promise<Reply<M>> {
    return new Promise((resolve, reject) => this.#client.ask({ method, body: () => ({ conv: this.id, ...body }), chat: this, resolve, reject }));
  }
  async leave() {
    await this.call("leave", {});
    this.#client.conversations.delete(this.id);
  }
  /** `Client` calls it: opens, and opens again when the connection or the stream has ended. */
  open(): Promise<Conversation> {
    this.isOpening = true;
    this.#client.ask(this.#opening);
    return this.#opened.promise;
  }
  #start(page: Page) {
    const sameEpoch = page.epoch === this.#epoch && page.head >= this.last;
    if (this.#epoch && !page.recovered) queueMicrotask(() => this.#on.page?.(page, sameEpoch));
    if (!sameEpoch) this.last = page.head;
    [this.page, this.id, this.#epoch, this.#want, this.isOpening] = [page, page.conv, page.epoch, page.head, false];
    this.#client.conversations.set(this.id, this);
    this.#opened.resolve(this);
    this.#take(page.recovered ? page.items : []);
  }
  // What is asked from now on is answered by the server.
  #over(error: ChatError) {
    this.isOpening = false;
    this.#opened.reject(error);
    if (error.code !== "closed" && this.#client.conversations.delete(this.id)) queueMicrotask(() => this.#on.ended?.(error));
  }
  /** `Client` calls it. */
  hear(name: string, { conv, ...body }: Push) {
    if (name === "msg") {
      this.#want = body.seq;
      this.#take([body as Item]);
    } else if (name === "reset" || name === "removed") this.open(); // it tells what became of it
    else queueMicrotask(() => this.#on.push?.(name, body));
  }
  // The only way out for messages: each follows the last. By microtasks, so that an error in a handler harms nothing here.
  #take(items: Item[]) {
    for (const item of items) {
      if (item.seq !== this.last + 1) continue;
      this.last++;
      queueMicrotask(() => this.#on.message(item));
    }
    // What neither a page nor a push has brought is in history, and with it what was pushed too early.
    if (this.last < this.#want) this.#client.ask(this.#reading);
  }
}
