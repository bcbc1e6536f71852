import { ChatView } from "./chat_view.js";
import { ChatsView } from "./chats_view.js";
import { Client } from "./client.js";
import { Conversation } from "./conversation.js";
import { keyOf } from "./destination.js";
import { clock, h } from "./dom.js";
import { LoginView } from "./login_view.js";
import { Memory } from "./memory.js";
import { RenewalView } from "./renewal_view.js";

const LIST_DELAY_MS = 300;
const FRAME_MS = 16;
const url = () => `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/v1/ws`;

/** One session in the page: its user, their chats, and the one that is shown. */
export class Pane {
  #memory;
  #client;
  #conversations = new Map();
  #listed = new Map();
  #cursor;
  #paged = false;
  #current;
  #chat;
  #chats;
  #listTimer;
  #frame;
  #who = h("b", {});
  #link = h("span", { className: "link", role: "status" });
  #news = h("span", { className: "news", role: "status" });
  #signOut = h("button", { type: "button", onclick: () => this.#leave("") }, "Sign out");
  #bar = h("header", { className: "bar", hidden: true }, this.#who, this.#link, this.#news, this.#signOut);
  #renewal = new RenewalView((token) => this.#renew(token));
  #body = h("div", { className: "body" });

  constructor(number, onUnread) {
    this.#memory = new Memory(number);
    this.onUnread = onUnread;
    this.element = h("section", { className: "pane", "aria-label": `Session ${number}` }, this.#bar, this.#renewal.element, this.#body);
    const { user, byToken } = this.#memory;
    if (user && !byToken) this.#enter({ user });
    else this.#askWho(byToken ? "A token is not kept when the page is loaded again: give it once more." : undefined);
  }
  /** Ends the session; the page may still come back to it. */
  end() {
    const client = this.#client;
    this.#client = undefined;
    client?.close();
    this.#chat?.end();
  }

  #askWho(error) {
    const login = new LoginView((who) => this.#enter(who));
    this.#bar.hidden = true;
    this.#body.replaceChildren(login.element);
    if (error) login.show(error, this.#memory.byToken);
  }
  #enter(who) {
    this.end();
    this.#who.textContent = who.user ?? "";
    this.#memory.byToken = who.token !== undefined;
    this.#bar.hidden = false;
    this.#link.textContent = "connecting";
    this.#news.textContent = "";
    this.#client = new Client({ url: url(), ...who, onState: (state, detail) => this.#onState(state, detail), onPush: (name, body) => this.#onPush(name, body) });
  }
  #leave(error) {
    this.end();
    this.#chat = this.#chats = this.#current = undefined;
    this.#conversations.clear();
    this.#listed.clear();
    this.#renewal.hide();
    if (!error) this.#memory.forget();
    this.#askWho(error);
  }

  #onState(state, detail) {
    if (!this.#client && state !== "connecting") return;
    this.#link.className = `link ${state}`;
    if (state === "ready") this.#welcome();
    if (state === "connecting") this.#link.textContent = "connecting";
    if (state === "waiting") this.#news.textContent = "";
    if (state === "waiting") this.#link.textContent = `offline (${detail.reason}), trying again`;
    if (state === "ended") this.#leave(detail);
  }
  #welcome() {
    const { user, node, engine } = this.#client.hello;
    this.#link.textContent = "connected";
    this.#link.title = `node ${node}, engine ${engine.name}, durability ${engine.durability}`;
    this.#refresh();
    if (this.#chats) return;
    if (this.#memory.user !== undefined && this.#memory.user !== user) this.#forget();
    this.#memory.user = user;
    this.#who.textContent = user;
    this.#chats = new ChatsView({ user, onChoose: (to) => this.#choose(to), onMore: () => this.#list(this.#cursor), onNewGroup: () => this.#newGroup() });
    this.#body.replaceChildren(this.#chats.element);
    for (const { to } of this.#memory.unsent) void this.#conversationWith(to).enter();
    if (this.#memory.to) this.#choose(this.#memory.to);
    else this.#chats.focus();
    this.#show();
  }

  // Somebody else came in: what was remembered is not theirs.
  #forget() {
    const { byToken } = this.#memory;
    this.#memory.forget();
    this.#memory.byToken = byToken;
  }
  async #renew(token) {
    const { expires } = await this.#client.refresh(token);
    this.#news.textContent = `a new token, until ${clock(expires)}`;
    this.#chat?.focus();
  }

  async #newGroup() {
    try {
      const { group } = await this.#client.call("create", {});
      this.#choose({ group });
    } catch (error) {
      this.#news.textContent = `no group: ${error.message}`;
    }
  }
  #quitted(conversation) {
    this.#drop(conversation.id);
    if (this.#current?.conversation === conversation) this.#back();
    this.#conversations.delete(keyOf(conversation.to));
    this.#show();
  }
  #drop(conv) {
    for (const [key, listed] of this.#listed) if (listed.conv === conv) this.#listed.delete(key);
    if (this.#current?.conversation.id === conv) this.#memory.to = undefined;
  }

  #conversationWith(to) {
    const key = keyOf(to);
    const known = this.#conversations.get(key);
    if (known) return known;
    const conversation = new Conversation(this.#client, to, {
      change: () => this.#show(),
      arrived: (item) => this.#current?.conversation === conversation && this.#chat.announce(item),
      opened: (how) => this.#current?.conversation === conversation && this.#tellOpened(how),
      unsent: (entries) => this.#memory.keepUnsent(to, entries),
    }, this.#memory.unsent.find((unsent) => keyOf(unsent.to) === key)?.entries);
    this.#conversations.set(key, conversation);
    return conversation;
  }
  #choose(to) {
    const key = keyOf(to);
    if (this.#current?.key !== key) this.#closeChat();
    else return this.#chat.focus();
    const conversation = this.#conversationWith(to);
    this.#memory.to = to;
    this.#current = { key, conversation };
    this.#chat = new ChatView(conversation, {
      onBack: () => this.#back(),
      onQuit: () => this.#quitted(conversation),
      isConnected: () => this.#client.state === "ready",
      contentBytesMax: () => this.#client.hello.limits.content_bytes_max,
    });
    this.#body.append(this.#chat.element);
    this.#body.classList.add("in-chat");
    void conversation.enter();
    this.#chat.focus();
    this.#show();
  }
  #closeChat() {
    this.#current?.conversation.leave();
    if (this.#current?.conversation.failure) this.#conversations.delete(this.#current.key);
    this.#chat?.end();
    this.#chat?.element.remove();
    this.#chat = this.#current = undefined;
    this.#body.classList.remove("in-chat");
  }
  #back() {
    this.#closeChat();
    this.#memory.to = undefined;
    this.#refresh();
    this.#show();
    this.#chats.focus();
  }

  #tellOpened({ again, recovered, missed }) {
    if (!again) return;
    const count = missed === 1 ? "1 message" : `${missed} messages`;
    this.#news.textContent = recovered ? `resumed, ${missed === 0 ? "nothing missed" : `${count} came meanwhile`}` : "back, with a fresh page";
  }

  #onPush(name, body) {
    const conversation = name !== "listed" && [...this.#conversations.values()].find(({ id }) => id === body.conv);
    if (conversation) conversation.onPush(name, body);
    if (name === "removed") this.#drop(body.conv);
    if (name === "listed") this.#tellListed(body);
    if (name === "notice" && body.code === "token_expiring") this.#renewal.show(body.expires);
    else if (name === "notice") this.#news.textContent = body.code === "draining" ? "this server is about to stop; another connection follows" : body.code.replaceAll("_", " ");
  }

  // A group without a message is in no list; whoever was invited sees it all the same.
  #tellListed({ conv, to, head }) {
    const key = keyOf(to);
    if (to.group !== undefined && head === 0 && !this.#listed.has(key)) this.#listed.set(key, { conv, to, head, unread: 0 });
    this.#refresh();
    this.#show();
  }
  #refresh() {
    this.#listTimer ??= setTimeout(() => {
      this.#listTimer = undefined;
      this.#list();
    }, LIST_DELAY_MS);
  }
  async #list(cursor) {
    const client = this.#client;
    try {
      const { items, next } = await client.call("list", { limit: 50, cursor });
      if (client !== this.#client) return;
      for (const item of items) this.#listed.set(keyOf(item.to), item);
      if (cursor !== undefined || !this.#paged) this.#cursor = next;
      this.#paged ||= cursor !== undefined;
      this.#show();
    } catch {
      // The session is over; the next one asks again.
    }
  }

  // Once per frame, however much has changed; a hidden tab has no frames, but a title.
  #show() {
    this.#frame ??= setTimeout(() => {
      this.#frame = undefined;
      if (!this.#chats) return;
      const chats = this.#chatRows();
      this.#chats.show(chats, this.#current?.key, this.#cursor !== undefined);
      this.#chat?.show();
      this.onUnread(chats.reduce((sum, { unread }) => sum + unread, 0));
    }, FRAME_MS);
  }
  #chatRows() {
    const groups = [...this.#conversations].filter(([, { to, failure, id }]) => to.group !== undefined && id && !failure).map(([key]) => key);
    const keys = new Set([...this.#listed.keys(), ...groups, ...(this.#current ? [this.#current.key] : [])]);
    const rows = [...keys].map((key) => {
      const listed = this.#listed.get(key);
      const known = this.#conversations.get(key);
      const open = known?.isOpen || this.#current?.key === key || !listed ? known : undefined;
      const newest = open ? newestOf(open.timeline.items) ?? listed?.newest : listed?.newest;
      return {
        to: listed?.to ?? open.to,
        newest,
        unread: open?.id ? open.unread : listed?.unread ?? 0,
        unreadMore: open?.id ? open.unreadMore : listed?.unread_more ?? false,
        online: open?.online,
      };
    });
    return rows.sort((one, other) => (other.newest?.at ?? Infinity) - (one.newest?.at ?? Infinity) || 0);
  }
}

const newestOf = (items) => items.reduce((newest, item) => (newest && newest.seq > item.seq ? newest : item), undefined);
