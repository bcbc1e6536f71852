import { clock, h } from "./dom.js";

/** One message in the log; `show` brings it up to date. */
export class MessageView {
  #tag = h("span", { className: "tag" });
  #state = h("span", { className: "state" });

  constructor(item, isOwn) {
    this.item = item;
    this.element = h("li", { className: isOwn ? "message own" : "message", tabIndex: -1, "data-seq": item.seq },
      h("p", { className: "meta" },
        h("b", {}, h("bdi", {}, item.from)),
        h("time", { dateTime: new Date(item.ts).toISOString(), title: `written ${new Date(item.ts).toLocaleString()}, stored ${new Date(item.at).toLocaleString()}, number ${item.seq}` }, clock(item.ts)),
        this.#tag,
        this.#state),
      h("p", { className: "text", dir: "auto" }, item.content));
  }

  show({ isUnread, isOwn, isRead }) {
    const { late, at } = this.item;
    this.element.classList.toggle("late", late);
    this.element.classList.toggle("unread", isUnread);
    this.#tag.hidden = !late && !isUnread;
    this.#tag.textContent = late ? `${isUnread ? "late, unread" : "late"}: came ${clock(at)}` : "new";
    this.#state.hidden = !isOwn;
    this.#state.textContent = isRead ? "read" : "stored";
    this.#state.classList.toggle("read", isRead);
  }
}

/** An own message that is on its way, or was refused. */
export class OutboxView {
  #state = h("span", { className: "state" });
  #actions;

  constructor(entry, { retry, discard }) {
    this.entry = entry;
    this.#actions = h("p", { className: "actions", hidden: true },
      h("button", { type: "button", onclick: retry }, "Send again"),
      h("button", { type: "button", onclick: discard }, "Discard"));
    this.element = h("li", { className: "message own sending" },
      h("p", { className: "meta" }, h("b", {}, "you"), this.#state),
      h("p", { className: "text", dir: "auto" }, entry.content),
      this.#actions);
  }

  show() {
    const { error } = this.entry;
    this.element.classList.toggle("failed", error !== undefined);
    this.#state.textContent = error ? `not sent: ${error.message}` : "sending …";
    this.#actions.hidden = !error;
  }
}
