import { arrange, h, newId } from "./dom.js";
import { keyOf, parse, titleOf } from "./destination.js";

/** The chats of a user, newest first, with what is unread in them, and a way to begin another one. */
export class ChatsView {
  #user;
  #onChoose;
  #onMore;
  #rows = new Map();
  #list = h("ul", {});
  #more = h("button", { type: "button", hidden: true, onclick: () => this.#onMore() }, "More chats");
  #name = h("input", { id: newId("to"), placeholder: "ann, #team", autocomplete: "off", spellcheck: false, maxLength: 65 });

  constructor({ user, onChoose, onMore, onNewGroup }) {
    this.#user = user;
    this.#onChoose = onChoose;
    this.#onMore = onMore;
    this.#name.setAttribute("autocapitalize", "none");
    const begin = (event) => {
      event.preventDefault();
      if (this.#name.value.trim() === "") return this.#name.focus();
      onChoose(parse(this.#name.value));
      this.#name.value = "";
    };
    this.element = h("nav", { className: "chats", "aria-label": "Chats" },
      h("form", { onsubmit: begin },
        h("label", { for: this.#name.id }, "Chat with a user or a #channel"),
        h("div", { className: "row" }, this.#name, h("button", { type: "submit" }, "Open"))),
      h("button", { type: "button", className: "new-group", onclick: onNewGroup }, "New private group"),
      this.#list,
      this.#more);
  }
  focus() {
    this.#name.focus();
  }

  /** `chats`: `{to, unread, unreadMore, online, newest}`; `current`: the key of the one that is shown. */
  show(chats, current, hasMore) {
    const rows = new Map(chats.map((chat) => [keyOf(chat.to), this.#rows.get(keyOf(chat.to)) ?? this.#row(chat.to)]));
    this.#rows = rows;
    for (const chat of chats) rows.get(keyOf(chat.to)).show(chat, keyOf(chat.to) === current);
    arrange(this.#list, [...rows.values()].map((row) => row.element));
    this.#more.hidden = !hasMore;
  }

  #row(to) {
    const [badge, online, newest] = [h("span", { className: "badge" }), h("span", { className: "presence", role: "img", "aria-label": "online", title: "online" }), h("span", { className: "newest" })];
    const button = h("button", { type: "button", onclick: () => this.#onChoose(to) },
      h("span", { className: "name" }, h("bdi", {}, titleOf(to, this.#user)), online), badge, newest);
    const show = (chat, isCurrent) => {
      const count = `${chat.unread}${chat.unreadMore ? "+" : ""}`;
      badge.hidden = chat.unread === 0;
      badge.textContent = count;
      badge.setAttribute("aria-label", `${count} unread`);
      online.hidden = !chat.online;
      newest.textContent = chat.newest ? `${chat.newest.from === this.#user ? "you" : chat.newest.from}: ${chat.newest.content.slice(0, 80)}` : "";
      if (isCurrent) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    };
    return { element: h("li", {}, button), show };
  }
}
