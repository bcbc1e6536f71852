import { ChatError, type Hello, type Push } from "./protocol.ts";

export const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
// Jitter over the whole span: after a restart of a server its clients must not come back all at once.
export const backoff = (tries: number) => Math.random() * Math.min(10_000, 250 * 2 ** tries);
export function deferred<T>() {
  const made = Promise.withResolvers<T>();
  made.promise.catch(() => {}); // a failure that nobody waits for is no error of the program
  return made;
}
const lost = (message: string) => new ChatError({ code: "lost", message, temporary: true, definite: false });

/** One WebSocket, from its start to its end: commands and their answers, and pushes. */
export class Connection {
  hello?: Hello;
  #socket: WebSocket;
  #pending = new Map<number, { method: string; resolve(reply: any): void; reject(error: ChatError): void }>();
  #id = 0;
  #heard = Date.now();
  #watch = setInterval(() => this.#look(), 1000);
  #end = deferred<{ code: number; reason: string }>();
  readonly lost = this.#end.promise;

  constructor(url: string, onOpen: () => void, onPush: (name: string, body: Push) => void) {
    this.#socket = new WebSocket(url);
    this.#socket.onopen = onOpen;
    this.#socket.onclose = ({ code, reason }) => this.end(code, reason);
    this.#socket.onerror = () => this.end(1006, "connection failed"); // Node 22 tells no `close` where the handshake fails
    this.#socket.onmessage = ({ data }) => {
      this.#heard = Date.now();
      const { id, ...frame } = JSON.parse(data);
      const asked = this.#pending.get(id);
      this.#pending.delete(id);
      if (id === undefined) for (const [name, body] of Object.entries(frame)) onPush(name, body as Push);
      else if (frame.error) asked?.reject(new ChatError(frame.error));
      else if (asked) asked.resolve(frame[asked.method]);
    };
  }

  // A dead link says nothing, and a browser does not show the server's pings: ask, and take silence for the end.
  #look() {
    const silent = Date.now() - this.#heard;
    const waiting = this.#pending.size > 0 || this.#socket.readyState !== WebSocket.OPEN;
    if (waiting && silent > 5000 + (this.hello?.limits.answer_ms_max ?? 5000)) this.end(1006, "no answer");
    else if (!waiting && this.hello && silent > this.hello.ping_ms) this.ask("ping", {}).catch(() => {});
  }

  /** One command. `onReply` runs before any later frame is looked at; what awaits the promise may run after some. */
  ask<T>(method: string, body: object, onReply?: (reply: T) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#socket.readyState !== WebSocket.OPEN) return reject(lost("not connected"));
      if (this.#pending.size === 0) this.#heard = Date.now();
      this.#pending.set(++this.#id, { method, reject, resolve: (reply: T) => (onReply?.(reply), resolve(reply)) });
      this.#socket.send(JSON.stringify({ id: this.#id, [method]: body }));
    });
  }

  end(code: number, reason: string) {
    clearInterval(this.#watch);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = this.#socket.onerror = null;
    this.#socket.close();
    this.#end.resolve({ code, reason });
    for (const { reject } of this.#pending.values()) reject(lost(`close code ${code}`));
    this.#pending.clear();
  }
}

/**
 * Asks until there is a definite answer, on the connection that `where` gives by then: after a lost connection, an indefinite error, or when the
 * server says for how long to wait. With `patient`, other temporary errors are no answer either.
 */
export async function settle<T>(
  where: () => Promise<Connection>, method: string, body: object, patient = false, onReply?: (reply: T, connection: Connection) => void,
): Promise<[T, Connection]> {
  for (let tries = 0; ; tries++) {
    const place = where();
    const connection = await place;
    try {
      return [await connection.ask<T>(method, body, (reply) => onReply?.(reply, connection)), connection];
    } catch (error) {
      if (!(error instanceof ChatError)) throw error;
      const moved = error.code === "not_found" && place !== where(); // a `reset` closed the conversation meanwhile
      if (error.definite && error.retryAfterMs === undefined && !moved && !(patient && error.temporary)) throw error;
      await (error.code === "lost" ? connection.lost : sleep(error.retryAfterMs ?? backoff(tries)));
    }
  }
}
