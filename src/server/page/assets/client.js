import { backoff, Connection, deferred, settle } from "./connection.js";
import { closed } from "./chat_error.js";

// 3500–3999 and 4500–4999 say so; after 1002, 1003, 1007 and 1009 we would only do the same wrong again.
const isFinal = (code) => (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000) || [1002, 1003, 1007, 1009].includes(code);

/** A user's session: connects, says hello, and comes back by itself until it is closed. */
export class Client {
  /** Of the newest connection. */
  hello;
  /** `connecting`, `ready`, `waiting` (to try again) or `ended`. */
  state = "connecting";
  #options;
  #connection = deferred();
  #current;
  #stopped = false;
  #wake = () => {};

  /** `onState(state, detail)`, `onPush(name, body)`. Exactly one of `user` and `token`. */
  constructor({ url, user, token, onState, onPush }) {
    this.#options = { url, onState, onPush, greeting: { user, token, client: "chatctl page" } };
    addEventListener("online", this.#online);
    addEventListener("offline", this.#offline);
    void this.#run();
  }

  get user() {
    return this.hello?.user ?? this.#options.greeting.user;
  }
  get connection() {
    return this.#connection.promise;
  }
  /** A method without a conversation. Resolves to its answer. */
  async call(method, body) {
    return (await settle(() => this.connection, method, () => body))[0];
  }
  /** Another token for this session and those after it. Resolves to `{expires}`, ms since 1970. */
  refresh(token) {
    this.#options.greeting.token = token;
    return this.call("refresh", { token });
  }
  close() {
    this.#stop("signed out");
    this.#current?.end(1000, "");
  }

  #stop(reason) {
    this.#stopped = true;
    removeEventListener("online", this.#online);
    removeEventListener("offline", this.#offline);
    // Who waits hears it, and so does who asks from now on: the old one may have been resolved long ago.
    this.#connection.reject(closed(reason));
    this.#connection = deferred();
    this.#connection.reject(closed(reason));
    this.#wake();
    this.#tell("ended", reason);
  }
  #tell(state, detail) {
    this.state = state;
    this.#options.onState(state, detail);
  }
  #online = () => this.#wake();
  // A browser that is offline may take minutes to find that a socket is dead.
  #offline = () => this.#current?.end(1006, "this device is offline");

  async #run() {
    for (let tries = 0; !this.#stopped; tries++) {
      const began = Date.now();
      this.#tell("connecting");
      const { code, reason, waitMs, wasReady } = await this.#session();
      if (this.#stopped) return;
      if (isFinal(code)) return this.#stop(reason || `closed by the server (${code})`);
      if (wasReady && Date.now() - began > 10_000) tries = 0;
      const wait = Math.max(waitMs, backoff(tries));
      this.#tell("waiting", { reason: reason || (code === 1006 ? "no connection" : `close code ${code}`), ms: wait });
      await new Promise((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, wait);
      });
    }
  }

  async #session() {
    const { url, greeting, onPush } = this.#options;
    let waitMs = 0;
    const welcome = (hello) => {
      this.hello = connection.hello = hello;
      this.#tell("ready");
      this.#connection.resolve(connection);
    };
    const refused = (error) => {
      waitMs = error.retryAfterMs ?? 0;
      if (error.temporary) connection.end(1013, error.message);
      else connection.end(4500, error.message);
    };
    const connection = new Connection(url, () => connection.ask("hello", greeting).then(welcome, refused), onPush);
    this.#current = connection;
    const end = await connection.lost;
    if (connection.hello && !this.#stopped) this.#connection = deferred();
    return { ...end, waitMs, wasReady: connection.hello !== undefined };
  }
}
