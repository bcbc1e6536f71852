import { arrange, h, newId } from "./dom.js";

/** Who is in a private group. Members invite, the owner removes, everybody may quit. */
export class MembersView {
  #conversation;
  #onQuit;
  #rows = new Map();
  #summary = h("summary", {}, "Members");
  #list = h("ul", { "aria-label": "Members" });
  #name = h("input", { id: newId("invite"), autocomplete: "off", spellcheck: false, maxLength: 64 });
  #error = h("p", { className: "error", role: "alert", hidden: true });

  constructor(conversation, { onQuit }) {
    this.#conversation = conversation;
    this.#onQuit = onQuit;
    this.#name.setAttribute("autocapitalize", "none");
    this.element = h("details", { className: "members" },
      this.#summary,
      this.#list,
      h("form", { onsubmit: (event) => (event.preventDefault(), this.#invite()) },
        h("label", { for: this.#name.id }, "Invite a user"),
        h("div", { className: "row" }, this.#name,
          h("button", { type: "submit" }, "Invite"),
          h("button", { type: "button", className: "quit", onclick: () => this.#quit() }, "Quit this group"))),
      this.#error);
  }

  show() {
    const { roster, failure, user } = this.#conversation;
    this.element.hidden = Boolean(failure);
    if (!roster) return;
    const { owner, members } = roster;
    this.#summary.textContent = members.length === 1 ? "1 member: invite others" : `${members.length} members`;
    this.#rows = new Map(members.map((member) => [member, this.#rows.get(member) ?? this.#row(member)]));
    for (const [member, row] of this.#rows) row.show({ isOwner: member === owner, canRemove: user === owner && member !== user });
    arrange(this.#list, [...this.#rows.values()].map((row) => row.element));
  }
  #row(member) {
    const tag = h("span", { className: "tag" }, "owner");
    const remove = h("button", { type: "button", onclick: () => this.#remove(member), "aria-label": `Remove ${member}` }, "Remove");
    const show = ({ isOwner, canRemove }) => {
      tag.hidden = !isOwner;
      remove.hidden = !canRemove;
    };
    return { element: h("li", { className: "row" }, h("bdi", {}, member), tag, remove), show };
  }

  async #invite() {
    const user = this.#name.value.trim();
    if (user === "") return this.#name.focus();
    if (await this.#manage("invite", { user })) this.#name.value = "";
  }
  async #remove(user) {
    if (await this.#manage("remove", { user })) this.#name.focus(); // the button is gone, and with it the focus
  }
  async #quit() {
    if (await this.#manage("quit", {})) this.#onQuit();
  }
  async #manage(method, body) {
    this.#error.hidden = true;
    try {
      await this.#conversation.manage(method, body);
      return true;
    } catch (error) {
      this.#error.hidden = false;
      this.#error.textContent = error.message;
      this.#error.scrollIntoView({ block: "nearest" });
      return false;
    }
  }
}
