import { keyOf } from "./destination.js";

/** What a pane remembers while its tab lives: the user, the chat, and messages without an answer yet. Tokens are not kept. */
export class Memory {
  #key;
  #value = {};

  constructor(number) {
    this.#key = `chatctl.pane.${number}`;
    try {
      this.#value = JSON.parse(sessionStorage.getItem(this.#key)) ?? {};
    } catch {
      // No storage, or something else in it: begin anew.
    }
  }
  get user() {
    return this.#value.user;
  }
  set user(user) {
    this.#keep({ user });
  }
  get to() {
    return this.#value.to;
  }
  set to(to) {
    this.#keep({ to });
  }
  /** Whether the user came in by a token. */
  get byToken() {
    return this.#value.byToken ?? false;
  }
  set byToken(byToken) {
    this.#keep({ byToken });
  }
  /** `[{to, entries}]`: messages that nobody has answered, each with its `cid`, so that sending them again stores them once. */
  get unsent() {
    return Object.entries(this.#value.unsent ?? {}).map(([key, entries]) => ({ to: JSON.parse(key), entries }));
  }
  keepUnsent(to, entries) {
    const unsent = { ...this.#value.unsent };
    if (entries.length > 0) unsent[keyOf(to)] = entries.map(({ cid, content, ts }) => ({ cid, content, ts }));
    else delete unsent[keyOf(to)];
    this.#keep({ unsent });
  }
  forget() {
    this.#keep({ user: undefined, to: undefined, byToken: undefined, unsent: undefined });
  }
  #keep(change) {
    Object.assign(this.#value, change);
    try {
      sessionStorage.setItem(this.#key, JSON.stringify(this.#value));
    } catch {
      // Without storage a reload asks again.
    }
  }
}
