import { sleep } from "./connection.js";
import { arrange, h } from "./dom.js";
import { MessageView, OutboxView } from "./message_view.js";
import { Seen } from "./seen.js";

const RETRY_MS = 1000;
const NEAR_PX = 120;
const PAGE = 50;
const MISSED_PAGE = 200;

/** The messages of a conversation, in their order, with a mark where some are missing. */
export class LogView {
  #conversation;
  #messages = new Map();
  #outbox = new Map();
  #list = h("ol", { className: "messages" });
  #markText = h("span");
  #markButton = h("button", { type: "button", onclick: () => this.#load(MISSED_PAGE) }, "Load what you missed");
  #mark = h("li", { className: "mark" }, this.#markText, this.#markButton);
  #loadingOlder = false;
  #isPlaced = false;
  #seen;

  constructor(conversation, label) {
    this.#conversation = conversation;
    this.element = h("div", { className: "log", tabIndex: 0, role: "region", "aria-label": `Messages, ${label}`, onscroll: () => this.#scrolled() }, this.#list);
    this.#seen = new Seen(this.element, (element) => conversation.see(Number(element.dataset.seq)));
  }
  end() {
    this.#seen.end();
  }

  /** Brings it up to date. It begins at the first unread message, or its end; then it stays at its end if it was there, and otherwise where the reader is. */
  show() {
    const log = this.element;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_PX;
    const anchor = atEnd ? undefined : this.#anchor();
    arrange(this.#list, this.#nodes());
    if (!this.#isPlaced) this.#place();
    else if (atEnd) log.scrollTop = log.scrollHeight;
    else if (anchor?.element.isConnected) log.scrollTop += anchor.element.getBoundingClientRect().top - anchor.top;
    if (!this.#hasGap() && log.clientHeight > 0 && log.scrollHeight <= log.clientHeight) this.#load(PAGE);
  }
  #place() {
    this.toEnd();
    const { timeline } = this.#conversation;
    const first = timeline.items.find((item) => !timeline.isApart(item) && !item.late && this.#conversation.isUnread(item));
    if (first) this.#messages.get(first.seq).element.scrollIntoView({ block: "start" });
    this.#isPlaced = this.#conversation.isOpen;
  }
  toEnd() {
    this.element.scrollTop = this.element.scrollHeight;
  }
  /** Takes the reader to a message. */
  reveal(item) {
    const view = this.#messages.get(item.seq);
    view?.element.scrollIntoView({ block: "center" });
    view?.element.focus({ preventScroll: true });
  }

  #nodes() {
    const { timeline, outbox, peerUpTo } = this.#conversation;
    const views = new Map();
    const nodes = [];
    let isMarked = timeline.next === undefined;
    for (const item of timeline.items) {
      if (!isMarked && !timeline.isApart(item)) {
        nodes.push(this.#showMark());
        isMarked = true;
      }
      const isOwn = this.#conversation.isOwn(item);
      const isUnread = this.#conversation.isUnread(item);
      const old = this.#messages.get(item.seq);
      const view = old?.item.cid === item.cid ? old : new MessageView(item, isOwn);
      view.show({ isOwn, isUnread, isRead: item.seq <= peerUpTo });
      if (isUnread && view !== old) this.#seen.watch(view.element);
      if (!isUnread) this.#seen.unwatch(view.element);
      views.set(item.seq, view);
      nodes.push(view.element);
    }
    for (const [seq, view] of this.#messages) if (views.get(seq) !== view) this.#seen.unwatch(view.element);
    this.#messages = views;
    this.#outbox = new Map(outbox.map((entry) => [entry, this.#outbox.get(entry) ?? this.#newOutboxView(entry)]));
    for (const view of this.#outbox.values()) {
      view.show();
      nodes.push(view.element);
    }
    return nodes;
  }
  #newOutboxView(entry) {
    return new OutboxView(entry, { retry: () => this.#conversation.retry(entry), discard: () => this.#conversation.discard(entry) });
  }

  #hasGap() {
    return this.#conversation.unreadBefore > 0;
  }
  #showMark() {
    const { unreadBefore, unreadMore } = this.#conversation;
    const isGap = this.#hasGap();
    this.#mark.classList.toggle("gap", isGap);
    this.#markText.textContent = isGap ? `${unreadBefore}${unreadMore ? " or more" : ""} unread before this` : "There are older messages";
    this.#markButton.textContent = isGap ? "Load what you missed" : "Load older";
    return this.#mark;
  }
  #scrolled() {
    if (this.#hasGap() || !this.#mark.isConnected) return;
    const [mark, log] = [this.#mark.getBoundingClientRect(), this.element.getBoundingClientRect()];
    if (mark.bottom > log.top - NEAR_PX && mark.top < log.bottom) this.#load(PAGE);
  }
  async #load(limit) {
    if (this.#loadingOlder) return;
    this.#loadingOlder = true;
    const hadFocus = document.activeElement === this.#markButton;
    try {
      await this.#conversation.loadOlder(limit);
    } catch {
      await sleep(RETRY_MS); // the mark stays, and with it the way to try again
    } finally {
      this.#loadingOlder = false;
      if (hadFocus && !this.#mark.isConnected) this.element.focus({ preventScroll: true });
    }
  }
  // The first message in view: where the reader is.
  #anchor() {
    const top = this.element.getBoundingClientRect().top;
    for (const element of this.#list.children) {
      const box = element.getBoundingClientRect();
      if (box.bottom > top && element !== this.#mark) return { element, top: box.top };
    }
  }
}
