// A client for chatctl servers on the standard WebSocket (browsers, Node 22 and newer). It reconnects, resumes, fills gaps and sends again,
// so that each message is stored once, and handed over once and in order. `protocol.ts` is types.
import { Conversation } from "./conversation.ts";
import { type Ask, backoff, ChatError, closed, type Handlers, type Hello, isFinal, type Method, type Options, type Push, type Reply, type Resume, type To } from "./protocol.ts";
export { Conversation };
export * from "./protocol.ts";

/** Asked until there is a definite answer, on this connection or a later one; `body` is made each time. */
interface Command {
  method: Method; body(): object; chat?: Conversation; tries?: number;
  resolve(reply: any): void; reject(error: ChatError): void;
}

export class Client {
  /** `token` may be replaced: the next connection shows it. */
  readonly options: Options;
  /** The open ones, by `conv`. */
  readonly conversations = new Map<string, Conversation>();
  /** Of the newest connection: limits, node, and more. */
  hello?: Hello;
  #socket?: WebSocket;
  #isIn = false; // `hello` was answered on this socket
  #waiting: Command[] = []; // to be written in this order, each when its conversation is open
  #asked = new Map<number, Command>(); // written, not answered
  #id = 0;
  #began = 0;
  #heard = 0;
  #tries = 0;
  #attempt = 0;
  #timer?: ReturnType<typeof setTimeout>;
  #watch?: ReturnType<typeof setInterval>;
  #ended?: ChatError = closed("connect first");

  constructor(options: Options) {
    this.options = { ...options };
  }
  /** Resolves when the server has let us in; fails when it never will. From now on it tries by itself, until `close`. */
  async connect(): Promise<Hello> {
    if (this.#ended) {
      this.#ended = undefined;
      this.#dial();
      for (const chat of this.conversations.values()) chat.open().catch(() => {});
    }
    await this.call("ping", {});
    return this.hello!;
  }
  /** Open each conversation once; `resume` goes on where an earlier run of the program stopped. */
  async open(to: To, handlers: Handlers, { limit, resume }: { limit?: number; resume?: Resume } = {}): Promise<Conversation> {
    const chat = new Conversation(this, { to, limit }, handlers, resume);
    await chat.open();
    return chat;
  }
  /** A method that needs no open conversation: `list`, `create`, `refresh`, `ping`. */
  call<M extends Method>(method: M, body: Ask<M>): Promise<Reply<M>> {
    return new Promise((resolve, reject) => this.ask({ method, body: () => body, resolve, reject }));
  }
  close(error = closed("by the program")) {
    this.#ended = error;
    this.#hangUp();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
  /** `Conversation` calls it. */
  ask(command: Command) {
    const ended = this.#ended ?? command.chat?.ended;
    if (ended) return command.reject(ended);
    this.#waiting.push(command);
    this.flush();
  }
  /** `Conversation` calls it when it is open. */
  flush() {
    const canGo = ({ method, chat }: Command) => this.#isIn && (!chat || chat.isOpen || method === "open");
    for (const command of this.#waiting.splice(0)) canGo(command) ? this.#write(command) : this.#waiting.push(command);
  }
  /** `Conversation` calls it when it was closed: what was not answered is asked again, first. */
  takeBack(chat?: Conversation) {
    const unanswered = [...this.#asked].filter(([, command]) => !chat || command.chat === chat);
    for (const [id] of unanswered) this.#asked.delete(id);
    this.#waiting.unshift(...unanswered.map(([, command]) => command).filter(({ method }) => method !== "hello"));
  }
  /** `Conversation` calls it at its end. */
  forget(chat: Conversation, error: ChatError) {
    chat.ended = error;
    this.conversations.delete(chat.id);
    this.takeBack(chat);
    const gone = this.#waiting.filter((command) => command.chat === chat);
    this.#waiting = this.#waiting.filter((command) => command.chat !== chat);
    for (const { reject } of gone) reject(error);
  }

  #dial() {
    const { urls, user, token, client } = this.options;
    const socket = (this.#socket = new WebSocket(urls[this.#attempt++ % urls.length]!));
    const refused = (error: ChatError) => {
      if (error.temporary) this.#lost(1013, error.message, error.retryAfterMs);
      else this.#timer = setTimeout(() => this.#lost(4500, error.message), 1000); // the server's own close code says more, where it closes
    };
    const welcome = (hello: Hello) => {
      [this.hello, this.#isIn] = [hello, true];
      this.flush();
    };
    socket.onopen = () => this.#write({ method: "hello", body: () => ({ user, token, client }), resolve: welcome, reject: refused });
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    socket.onerror = () => this.#lost(1006, "connection failed"); // Node 22 tells no `close` where the handshake fails
    this.#began = this.#heard = Date.now();
    this.#watch = setInterval(() => this.#look(), 1000);
  }
  // A dead link says nothing, and a browser does not show the server's pings: ask, and take silence for the end.
  #look() {
    const silent = Date.now() - this.#heard;
    const isWaiting = !this.#isIn || this.#asked.size > 0;
    if (isWaiting && silent > 5000 + (this.hello?.limits.answer_ms_max ?? 5000)) this.#lost(1006, "no answer");
    else if (!isWaiting && silent > this.hello!.ping_ms) this.call("ping", {}).catch(() => {});
  }
  #write(command: Command) {
    if (this.#asked.size === 0) this.#heard = Date.now();
    this.#asked.set(++this.#id, command);
    this.#socket!.send(JSON.stringify({ id: this.#id, [command.method]: command.body() }));
  }
  #hear({ id, ...frame }: Record<string, any>) {
    this.#heard = Date.now();
    const command = this.#asked.get(id);
    this.#asked.delete(id);
    if (id === undefined) for (const [name, body] of Object.entries(frame)) this.#push(name, body);
    else if (command && frame.error) this.#refused(command, new ChatError(frame.error));
    else command?.resolve(frame[command.method]);
  }
  #refused(command: Command, error: ChatError) {
    const isHarmless = command.method === "open" || command.method === "read";
    const again = error.temporary && (!error.definite || error.retryAfterMs !== undefined || isHarmless);
    if (command.method === "hello" || !again) return command.reject(error);
    command.tries = (command.tries ?? 0) + 1;
    setTimeout(() => this.ask(command), error.retryAfterMs ?? backoff(command.tries));
  }
  #push(name: string, body: Push) {
    const chat = name === "listed" ? undefined : this.conversations.get(body.conv);
    if (chat) chat.onPush(name, body);
    else queueMicrotask(() => this.options.push?.(name, body));
  }
  #lost(code: number, reason: string, waitMs = 0) {
    this.#hangUp();
    if (isFinal(code)) {
      this.close(closed(reason || `close code ${code}`, code));
      return this.options.closed?.(this.#ended!);
    }
    for (const chat of this.conversations.values()) if (chat.isOpen) chat.open().catch(() => {});
    if (Date.now() - this.#began > 10_000) this.#tries = 0;
    this.#timer = setTimeout(() => this.#dial(), Math.max(waitMs, backoff(this.#tries++)));
  }
  #hangUp() {
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    const socket = this.#socket;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    socket?.close();
    this.#isIn = false;
    this.takeBack();
  }
}
