import { h, newId } from "./dom.js";

/** Who am I? Calls `onUser({user, token})` with what was typed in, one of the two. */
export class LoginView {
  #user = h("input", { id: newId("user"), autocomplete: "username", spellcheck: false, maxLength: 64 });
  #token = h("input", { id: newId("token"), type: "password", autocomplete: "off" });
  #details = h("details", {},
    h("summary", {}, "This server wants a token"),
    h("label", { for: this.#token.id }, "Token"),
    this.#token);
  #error = h("p", { className: "error", role: "alert" });

  constructor(onUser) {
    this.#user.setAttribute("autocapitalize", "none");
    const submit = (event) => {
      event.preventDefault();
      const user = this.#user.value.trim();
      const token = this.#token.value.trim();
      if (token) onUser({ token });
      else if (user) onUser({ user });
      else this.show("Type a name, or a token.");
    };
    this.element = h("form", { className: "login", onsubmit: submit },
      h("h2", {}, "Who are you?"),
      h("label", { for: this.#user.id }, "Name"),
      this.#user,
      this.#details,
      this.#error,
      h("button", { type: "submit", className: "main" }, "Come in"));
  }
  /** Says why it asks; `byToken`: for a token. */
  show(error, byToken = false) {
    this.#error.textContent = error;
    this.#details.open ||= byToken;
    (byToken ? this.#token : this.#user).focus();
  }
}
