import { Composer } from "./composer.js";
import { h } from "./dom.js";
import { titleOf } from "./destination.js";
import { LogView } from "./log_view.js";
import { MembersView } from "./members_view.js";

/** One open chat: who is there, the messages, what arrived late, and where one writes. */
export class ChatView {
  #conversation;
  #log;
  #composer;
  #members;
  #presence = h("span", { className: "presence" });
  #lateText = h("span", {});
  #late = h("p", { className: "late-bar", hidden: true },
    this.#lateText,
    h("button", { type: "button", onclick: () => this.#showLate() }, "Show"));
  #failure = h("p", { className: "error", role: "alert", hidden: true });
  // Screen readers hear what comes now; the log itself would also read out history that is loaded.
  #announcement = h("p", { className: "hidden", role: "log", "aria-live": "polite" });

  constructor(conversation, { onBack, onQuit, isConnected, contentBytesMax }) {
    const title = titleOf(conversation.to, conversation.user);
    this.#conversation = conversation;
    this.#log = new LogView(conversation, title);
    this.#composer = new Composer({ onSend: (content, ts) => this.#send(content, ts), isConnected, contentBytesMax });
    if (conversation.to.group !== undefined) this.#members = new MembersView(conversation, { onQuit });
    this.element = h("section", { className: "chat", "aria-label": `Chat: ${title}` },
      h("header", {},
        h("button", { type: "button", className: "back", onclick: onBack }, "Chats"),
        h("h2", {}, h("bdi", {}, title)),
        this.#presence),
      this.#members?.element, this.#late, this.#failure, this.#log.element, this.#announcement, this.#composer.element);
  }
  focus() {
    this.#composer.focus();
  }
  end() {
    this.#log.end();
  }

  show() {
    const { online, unreadLate, failure } = this.#conversation;
    this.#presence.hidden = online === undefined;
    this.#presence.textContent = online ? "online" : "offline";
    this.#presence.classList.toggle("away", !online);
    this.#late.hidden = unreadLate.length === 0;
    this.#lateText.textContent = unreadLate.length === 1 ? "1 unread message arrived late" : `${unreadLate.length} unread messages arrived late`;
    this.#failure.hidden = !failure;
    this.#failure.textContent = failure ? `This chat cannot be opened: ${failure.message}` : "";
    this.#composer.element.hidden = Boolean(failure);
    this.#members?.show();
    this.#log.show();
  }
  announce(item) {
    if (this.#conversation.isOwn(item)) return;
    this.#announcement.append(h("span", {}, `${item.late ? "Late message from" : ""} ${item.from}: ${item.content} `));
    while (this.#announcement.childNodes.length > 5) this.#announcement.firstChild.remove();
  }

  #send(content, ts) {
    this.#conversation.send(content, ts);
    this.#log.toEnd();
  }
  #showLate() {
    const [first] = this.#conversation.unreadLate;
    if (first) this.#log.reveal(first);
  }
}
