/** An error of the protocol; `lost` (the connection) and `closed` (for good) are made here. Only a `definite` one says that nothing happened. */
export class ChatError extends Error {
  constructor({ code, message, temporary, definite, retry_after_ms }) {
    super(message);
    Object.assign(this, { code, temporary, definite, retryAfterMs: retry_after_ms });
  }
}
export const lost = (message) => new ChatError({ code: "lost", message, temporary: true, definite: false });
export const closed = (message) => new ChatError({ code: "closed", message, temporary: false, definite: false });
