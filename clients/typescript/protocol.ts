// The words of the protocol: what goes over the wire as it is.

export type To = { user: string } | { channel: string } | { group: string };
export interface Item { seq: number; from: string; cid: string; type: string; content: string; ts: number; at: number; late: boolean }
export interface Acked { up_to: number; ranges: [number, number][] }
export interface Unread { unread: number; unread_more?: boolean }
/** What `open` answers. After `recovered` there is no `late`, `gap`, `unread_before` and `next`. */
export interface Page extends Unread {
  conv: string; epoch: string; head: number; acked: Acked; items: Item[]; late?: Item[]; late_next?: string;
  unread_late: number; unread_before?: number; gap?: boolean; next?: string; recovered?: boolean; online?: boolean;
}
export interface Resume { epoch: string; seq: number }
export interface Sent { seq: number; ts: number; late: boolean; dup: boolean; at: number }
export interface Read { from?: number; to?: number; order?: "asc" | "desc"; after_seq?: number; late?: true; limit?: number; cursor?: string }
export interface Listed extends Unread { conv: string; to: To; head: number; newest: Item }
export interface Hello {
  session: string; user: string; node: string; protocol: number; ping_ms: number;
  engine: { name: string; durability: string }; limits: Record<string, number>;
}
/** The body of a push, as its name says. */
export type Push = Record<string, any>;

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

type Conv = { conv: string };
type Nothing = Record<string, never>;
/** What each method takes and answers. */
interface Methods {
  hello: [{ user?: string; token?: string; client?: string }, Hello];
  open: [{ to: To; limit?: number; resume?: Resume; echo?: boolean; push?: boolean }, Page];
  send: [Conv & { cid: string; type: string; content: string; ts?: number }, Sent];
  read: [Conv & Read, { items: Item[]; next?: string }];
  ack: [Conv & { up_to?: number; ranges?: [number, number][] }, { acked: Acked } & Unread];
  leave: [Conv, Nothing];
  list: [{ limit?: number; cursor?: string }, { items: Listed[]; next?: string }];
  create: [Nothing, { group: string }];
  invite: [Conv & { user: string }, Nothing];
  remove: [Conv & { user: string }, Nothing];
  quit: [Conv, Nothing];
  refresh: [{ token: string }, { expires: number }];
  ping: [Nothing, Nothing];
}
export type Method = keyof Methods;
export type InConversation = "send" | "read" | "ack" | "leave" | "invite" | "remove" | "quit";
export type Ask<M extends Method> = Methods[M][0];
export type Reply<M extends Method> = Methods[M][1];

interface ErrorBody { code: string; message: string; temporary: boolean; definite: boolean; field?: string; retry_after_ms?: number }
/** An error of the protocol, or `closed`: by the program, or for good by the server (`closeCode`). Only a `definite` one says that nothing happened. */
export class ChatError extends Error {
  readonly code!: string; readonly temporary!: boolean; readonly definite!: boolean;
  readonly field?: string; readonly retryAfterMs?: number; readonly closeCode?: number;
  constructor({ code, message, temporary, definite, field, retry_after_ms }: ErrorBody, closeCode?: number) {
    super(`${code}: ${message}`);
    Object.assign(this, { code, temporary, definite, field, retryAfterMs: retry_after_ms, closeCode });
  }
}
export const closed = (reason: string, closeCode?: number) =>
  new ChatError({ code: "closed", message: reason || `close code ${closeCode}`, temporary: false, definite: false }, closeCode);

/** What came: an answer has the `id` of its question and the name of its method, or `error`; a push has none, which is 0 here. */
export interface Frame { id: number; name: string; body: any }
export function parse(text: string): Frame {
  const { id = 0, ...named } = JSON.parse(text);
  const [name, body] = Object.entries(named)[0]!;
  return { id, name, body };
}
export const frame = (id: number, method: Method, body: object) => JSON.stringify({ id, [method]: body });

/** ms, after so many tries in a row. Jitter over the whole span: after a restart of a server its clients must not come back all at once. */
export const backoff = (tries: number) => Math.random() * Math.min(10_000, 125 * 2 ** tries);
/** How a connection ends whose `hello` is refused like this. */
export const closeCode = ({ code, temporary }: ErrorBody) =>
  new Map([["bad_token", 4501], ["token_expired", 4501], ["limit", 4504]]).get(code) ?? (temporary ? 1013 : 4500);
/**
 * 3500–3999 and 4500–4999 say that we must not come back; after 1002, 1003, 1007 and 1009 we would only do the same wrong again.
 * Without a code it was the program.
 */
export const isFinal = (code?: number) =>
  code === undefined || (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000) || [1002, 1003, 1007, 1009].includes(code);
