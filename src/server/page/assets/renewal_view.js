import { clock, h, newId } from "./dom.js";

/** Asks for another token before the one of this session ends. `onToken(token)` takes it, and fails where it is refused. */
export class RenewalView {
  #text = h("span", { role: "alert" });
  #token = h("input", { id: newId("new-token"), type: "password", autocomplete: "off" });
  #error = h("span", { className: "error", role: "alert" });

  constructor(onToken) {
    const submit = async (event) => {
      event.preventDefault();
      const token = this.#token.value.trim();
      if (token === "") return this.#token.focus();
      try {
        await onToken(token);
        this.hide();
      } catch (error) {
        this.#error.textContent = error.message;
      }
    };
    this.element = h("form", { className: "renewal", hidden: true, onsubmit: submit },
      this.#text,
      h("div", { className: "row" },
        h("label", { for: this.#token.id }, "New token"),
        this.#token,
        h("button", { type: "submit", className: "main" }, "Use it")),
      this.#error);
  }
  /** `expires`: when the token ends, ms since 1970. */
  show(expires) {
    this.#text.textContent = `Your token ends at ${clock(expires)}.`;
    this.#error.textContent = "";
    this.element.hidden = false;
  }
  hide() {
    this.element.hidden = true;
    this.#token.value = "";
  }
}
