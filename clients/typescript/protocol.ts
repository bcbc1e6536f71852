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
export interface Sent { seq: number; ts: number; late: boolean; dup: boolean; at: number }
export interface Read { from?: number; to?: number; order?: "asc" | "desc"; after_seq?: number; late?: true; limit?: number; cursor?: string }
export interface Listed extends Unread { conv: string; to: To; head: number; newest: Item }
export interface Hello {
  session: string; user: string; node: string; protocol: number; ping_ms: number;
  engine: { name: string; durability: string }; limits: Record<string, number>;
}
/** The body of a push, as its name says. */
export type Push = Record<string, any>;

/** An error of the protocol, or `closed`: by the program, or for good by the server (`closeCode`). Only a `definite` one says that nothing happened. */
export class ChatError extends Error {
  readonly code: string; readonly temporary: boolean; readonly definite: boolean;
  readonly field?: string; readonly retryAfterMs?: number; readonly closeCode?: number;
  constructor(error: { code: string; message: string; temporary: boolean; definite: boolean; field?: string; retry_after_ms?: number }, closeCode?: number) {
    super(`${error.code}: ${error.message}`);
    this.code = error.code;
    this.temporary = error.temporary;
    this.definite = error.definite;
    this.field = error.field;
    this.retryAfterMs = error.retry_after_ms;
    this.closeCode = closeCode;
  }
}
export const closed = (message: string, closeCode?: number) => new ChatError({ code: "closed", message, temporary: false, definite: false }, closeCode);
