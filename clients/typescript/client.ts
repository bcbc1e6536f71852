// A client for chatctl servers on the standard WebSocket (browsers, Node 22 and newer). It reconnects, resumes, fills gaps and sends again,
// so that each message is stored once, and handed over once and in order.
import { backoff, Connection, deferred, settle, sleep } from "./connection.ts";
import { Conversation, type Handlers } from "./conversation.ts";
import { ChatError, closed, type Hello, type Listed, type Push, type To } from "./protocol.ts";
export { ChatError, Conversation, type Handlers };
export * from "./protocol.ts";

export interface Options {
  /** Tried in turn, so that a node that went away costs one attempt. */
  urls: string[];
  user?: string;
  token?: string;
  client?: string;
  /** `listed`, `notice`, and whatever belongs to no open conversation. */
  push?(name: string, body: Push): void;
  /** The server said not to come back (`closeCode`; 4501: only with a new token). `connect` begins again. */
  closed?(error: ChatError): void;
}

// 3500–3999 and 4500–4999 say so; after 1002, 1003, 1007 and 1009 we would only do the same wrong again.
const isFinal = (code: number) => (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000) || [1002, 1003, 1007, 1009].includes(code);

export class Client {
  /** The open ones, by `conv`. */
  readonly conversations = new Map<string, Conversation>();
  /** Of the newest connection: limits, node, and more. */
  hello?: Hello;
  #options: Options;
  #connection = deferred<Connection>();
  #current?: Connection;
  #stop?: AbortController;
  #attempt = 0;

  constructor(options: Options) {
    this.#options = { ...options };
  }

  /** Resolves when the server has let us in; fails when it never will. From now on it tries by itself, until `close`. */
  async connect(token?: string): Promise<Hello> {
    if (token !== undefined) this.#options.token = token;
    if (!this.#stop || this.#stop.signal.aborted) {
      this.#stop = new AbortController();
      this.#connection = deferred();
      void this.#run(this.#stop.signal);
      for (const conversation of this.conversations.values()) void conversation.run();
    }
    return (await this.connection).hello!;
  }
  /** Open each conversation once; `resume` goes on where an earlier run of the program stopped. */
  async open(to: To, handlers: Handlers, { limit, resume }: { limit?: number; resume?: { epoch: string; seq: number } } = {}): Promise<Conversation> {
    const conversation = new Conversation(this, to, handlers, limit, resume);
    void conversation.run();
    await conversation.opened();
    return conversation;
  }
  list(query: { limit?: number; cursor?: string } = {}): Promise<{ items: Listed[]; next?: string }> {
    return this.call("list", query);
  }
  /** Another token for this session and those to come. */
  refresh(token: string): Promise<{ expires: number }> {
    this.#options.token = token;
    return this.call("refresh", { token });
  }
  /** Any other method without a conversation: `create`, `ping`. */
  async call<T>(method: string, body: object): Promise<T> {
    return (await settle<T>(() => this.connection, method, body))[0];
  }
  close() {
    this.#stop?.abort();
    this.#connection.reject(closed("by the program"));
    this.#current?.end(1000, "");
  }
  get connection(): Promise<Connection> {
    return this.#connection.promise;
  }

  async #run(stop: AbortSignal) {
    for (let tries = 0; !stop.aborted; tries++) {
      const began = Date.now();
      const { code, reason, waitMs } = await this.#session(this.#options.urls[this.#attempt++ % this.#options.urls.length]!);
      if (stop.aborted) return this.#connection.reject(closed("by the program"));
      if (isFinal(code)) {
        const error = closed(reason || `close code ${code}`, code);
        this.#stop?.abort();
        this.#connection.reject(error);
        return this.#options.closed?.(error);
      }
      if (Date.now() - began > 10_000) tries = 0;
      await sleep(Math.max(waitMs, backoff(tries)));
    }
  }

  async #session(url: string) {
    let waitMs = 0;
    const connection = new Connection(url, () => connection.ask<Hello>("hello", this.#greeting()).then(welcome, refused), this.#push);
    const welcome = (hello: Hello) => {
      this.hello = connection.hello = hello;
      this.#connection.resolve(connection);
    };
    const refused = (error: ChatError) => {
      waitMs = error.retryAfterMs ?? 0;
      if (error.temporary) connection.end(1013, error.message);
      else setTimeout(() => connection.end(4500, error.message), 1000); // the server's own close code says more, where it closes
    };
    this.#current = connection;
    const end = await connection.lost;
    if (connection.hello) this.#connection = deferred();
    return { ...end, waitMs };
  }
  #greeting() {
    return { user: this.#options.user, token: this.#options.token, client: this.#options.client };
  }

  #push = (name: string, body: Push) => {
    const conversation = name === "listed" ? undefined : this.conversations.get(body.conv);
    if (conversation) conversation.onPush(name, body);
    else queueMicrotask(() => this.#options.push?.(name, body));
  };
}
