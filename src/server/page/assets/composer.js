import { h, newId } from "./dom.js";

const LATE_MINUTES = 5;

/** Where a message is written, and the switch that sends it late. Calls `onSend(content, ts)`. */
export class Composer {
  #text = h("textarea", { id: newId("text"), rows: 1 });
  #late = h("input", { id: newId("late"), type: "checkbox" });
  #minutes = h("input", { type: "number", min: 1, max: 525600, value: LATE_MINUTES, "aria-label": "Minutes ago" });
  #error = h("p", { className: "error", role: "alert", hidden: true });

  /** `isConnected`: a message that is written without a connection carries its own time, and may so arrive late. */
  constructor({ onSend, isConnected, contentBytesMax }) {
    const send = () => {
      const content = this.#text.value;
      if (content.trim() === "") return;
      const bytes = new TextEncoder().encode(content).length;
      this.#error.hidden = bytes <= contentBytesMax();
      if (bytes > contentBytesMax()) return void (this.#error.textContent = `Too long: ${bytes} bytes, at most ${contentBytesMax()}.`);
      const minutes = Math.max(1, Number(this.#minutes.value) || LATE_MINUTES);
      onSend(content, this.#late.checked ? Date.now() - minutes * 60_000 : isConnected() ? undefined : Date.now());
      this.#text.value = "";
      this.#text.focus();
    };
    this.#text.onkeydown = (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send();
    };
    this.element = h("form", { className: "composer", onsubmit: (event) => (event.preventDefault(), send()) },
      this.#error,
      h("label", { for: this.#text.id, className: "hidden" }, "Message; Enter sends, Shift and Enter begins a line"),
      h("div", { className: "row" }, this.#text, h("button", { type: "submit", className: "main" }, "Send")),
      h("div", { className: "row small" },
        this.#late, h("label", { for: this.#late.id }, "Send late, as of"), h("span", {}, this.#minutes, " min ago")));
  }
  focus() {
    this.#text.focus();
  }
}
