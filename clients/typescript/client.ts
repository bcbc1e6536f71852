// A client for chatctl servers on the standard WebSocket (browsers, Node 22 and newer). It reconnects, resumes, fills gaps and sends again,
// so that each message is stored once, and handed over once and in order. `protocol.ts` is types, frames and codes.
import { backoff, ChatError, closeCode, closed, frame, isFinal, parse } from "./protocol.ts";
import type { Ask, Frame, Handlers, Hello, InConversation, Item, Method, Options, Page, Push, Reply, Resume, Sent, To } from "./protocol.ts";
export * from "./protocol.ts";

/**
 * Asked until there is a definite answer, on this connection or a later one; `body` is made each time. With `id` it is written on this one.
 * It waits while `chat` is being opened.
 */
interface Command { method: Method; body(): object; chat?: Conversation; id?: number; resolve(reply: any): void; reject(error: ChatError): void }

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
    this.options = options;
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
  /** All that is asked fails, and nothing is tried any more, until `connect`. */
  close = () => this.#lost(closed("by the program"));
  /** `Conversation` calls it, also with what is asked already. */
  ask(command: Command) {
    this.#commands.add(command);
    this.#flush();
  }

  #dial() {
    const { urls, user, token, client } = this.options;
    const socket = new WebSocket(urls[this.#attempt++ % urls.length]!);
    socket.onopen = () => socket.send(frame(1, "hello", { user, token, client }));
    socket.onmessage = ({ data }) => this.#hear(parse(data));
    // Node 22 tells no `close` where the handshake fails.
    socket.onclose = socket.onerror = ({ code = 1006, reason = "connection failed" }: Partial<CloseEvent>) => this.#lost(closed(reason, code));
    [this.#socket, this.#ended, this.#isQuiet] = [socket, undefined, true];
    // A dead link says nothing, and a browser does not show the server's pings: ask, and take silence for the end.
    this.#timer = setInterval(() => {
      if (this.#isQuiet) return this.#lost(closed("no answer", 1006));
      this.#isQuiet = true;
      this.#tries = 0; // it has held
      this.call("ping", {}).catch(() => {});
    }, 10_000);
    for (const chat of this.conversations.values()) chat.open();
  }
  #flush() {
    for (const command of this.#commands) {
      if (this.#ended && this.#commands.delete(command)) command.reject(this.#ended);
      if (!this.#id || command.id || command.chat?.isOpening) continue;
      command.id = ++this.#id;
      this.#socket!.send(frame(command.id, command.method, command.body()));
    }
  }
  #hear({ id, name, body }: Frame) {
    this.#isQuiet = false;
    const command = [...this.#commands].find((asked) => asked.id === id);
    const chat = name === "listed" ? undefined : this.conversations.get(body.conv);
    if (command) this.#answer(command, name, body);
    else if (id === 1 && name === "error") this.#lost(closed(body.message, closeCode(body)), body.retry_after_ms);
    else if (id === 1) [this.hello, this.#id] = [body, 1];
    else if (chat) chat.hear(name, body);
    else queueMicrotask(() => this.options.push?.(name, body));
    this.#flush();
  }
  #answer(command: Command, name: string, body: any) {
    this.#commands.delete(command);
    command.id = undefined;
    if (name === "leave") this.conversations.delete(command.chat?.id ?? "");
    if (name !== "error") return command.resolve(body);
    const error = new ChatError(body);
    if (!error.temporary && !command.chat?.isOpening) return command.reject(error);
    setTimeout(() => this.ask(command), (error.retryAfterMs ?? 0) + backoff(3));
  }
  // Tries again, or is over for good.
  #lost(error: ChatError, waitMs = 0) {
    clearTimeout(this.#timer);
    if (this.#socket) this.#socket.onmessage = this.#socket.onclose = this.#socket.onerror = null;
    this.#socket?.close();
    this.#id = 0;
    for (const command of this.#commands) command.id = undefined;
    if (isFinal(error.closeCode)) this.#ended = error;
    else this.#timer = setTimeout(() => this.#dial(), Math.max(waitMs, backoff(++this.#tries)));
    this.#flush();
    if (this.#ended?.closeCode) this.options.closed?.(this.#ended);
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
  #head = 0;
  #sending: Promise<unknown> = Promise.resolve();
  #opened = Promise.withResolvers<Conversation>();
  // Asked once at a time: the client holds each command once.
  #opening: Command;
  #reading: Command;

  constructor(client: Client, request: { to: To; limit?: number }, on: Handlers, resume?: Resume) {
    [this.#client, this.#on, this.#epoch, this.last] = [client, on, resume?.epoch, resume?.seq ?? 0];
    const open = () => ({ ...request, resume: this.#epoch ? { epoch: this.#epoch, seq: this.last } : undefined });
    this.#opening = { method: "open", body: open, resolve: (page) => this.#start(page), reject: (error) => this.#over(error) };
    const read = () => ({ conv: this.id, after_seq: this.last, limit: client.hello!.limits.read_limit_max });
    this.#reading = { method: "read", body: read, chat: this, resolve: ({ items }) => this.#take(items), reject: () => {} };
  }
  /**
   * Sent again with the same `cid` until it is known what became of it; choose and keep `cid` where the program may end before.
   * One at a time: the order is yours.
   */
  send(content: string, { cid = crypto.randomUUID(), type = "text", ts }: { cid?: string; type?: string; ts?: number } = {}): Promise<Sent> {
    return (this.#sending = this.#sending.catch(() => {}).then<Sent>(() => this.call("send", { cid, type, content, ts })));
  }
  /** Any other method of a conversation: `read`, `ack`, `leave`, `invite`, `remove`, `quit`. */
  call<M extends InConversation>(method: M, body: Omit<Ask<M>, "conv">): Promise<Reply<M>> {
    return new Promise((resolve, reject) => this.#client.ask({ method, body: () => ({ conv: this.id, ...body }), chat: this, resolve, reject }));
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
    [this.page, this.id, this.#epoch, this.isOpening] = [page, page.conv, page.epoch, false];
    this.#client.conversations.set(this.id, this);
    this.#opened.resolve(this);
    this.#take(page.recovered ? page.items : [], page.head);
  }
  // What is asked from now on is answered by the server.
  #over(error: ChatError) {
    this.isOpening = false;
    this.#opened.reject(error);
    if (error.code !== "closed" && this.#client.conversations.delete(this.id)) queueMicrotask(() => this.#on.ended?.(error));
  }
  /** `Client` calls it. */
  hear(name: string, { conv, ...body }: Push) {
    if (name === "msg") this.#take([body as Item], body.seq);
    else if (name === "reset" || name === "removed") this.open(); // it tells what became of it
    else queueMicrotask(() => this.#on.push?.(name, body));
  }
  // The only way out for messages: each follows the last. By microtasks, so that an error in a handler harms nothing here.
  #take(items: Item[], head = this.#head) {
    this.#head = head;
    for (const item of items) {
      if (item.seq !== this.last + 1) continue;
      this.last++;
      queueMicrotask(() => this.#on.message(item));
    }
    // What neither a page nor a push has brought is in history, and with it what was pushed too early.
    if (this.last < head) this.#client.ask(this.#reading);
  }
}
