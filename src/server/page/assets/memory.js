/** What a pane remembers while its tab lives: the user and the chat. Tokens are not kept. */
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
  forget() {
    this.#keep({ user: undefined, to: undefined });
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
