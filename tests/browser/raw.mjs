// Somebody without the page: frames of the protocol on a WebSocket that lives in a tab of the same origin.

export class Raw {
  static async at(browser, url, user) {
    const raw = new Raw();
    raw.context = await browser.createBrowserContext();
    raw.page = await raw.context.newPage();
    await raw.page.goto(new URL("/healthz", url).href);
    raw.user = user;
    await raw.#connect(user, "socket");
    return raw;
  }
  #connect(user, place) {
    return this.page.evaluate((user, place) => new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://${location.host}/v1/ws`);
      const pending = new Map();
      let id = 0;
      const ask = (method, body) => new Promise((resolve, reject) => {
        pending.set(++id, { method, resolve, reject });
        socket.send(JSON.stringify({ id, [method]: body }));
      });
      socket.onmessage = ({ data }) => {
        const frame = JSON.parse(data);
        const asked = pending.get(frame.id);
        if (frame.error) asked?.reject(new Error(JSON.stringify(frame.error)));
        else asked?.resolve(frame[asked.method]);
      };
      socket.onerror = () => reject(new Error("no connection"));
      socket.onopen = () => ask("hello", { user }).then(resolve, reject);
      window[place] = ask;
    }), user, place);
  }
  ask(method, body, place = "socket") {
    return this.page.evaluate((method, body, place) => window[place](method, body), method, body, place);
  }
  async open(to) {
    return (await this.ask("open", { to, echo: false })).conv;
  }
  send(conv, content, ts, cid = crypto.randomUUID()) {
    return this.ask("send", { conv, cid, type: "text", content, ts });
  }
  /** One after the other as they are stored, many under way at a time. */
  sendAll(conv, contents) {
    return this.page.evaluate(async (conv, contents, run) => {
      const send = (content, index) => window.socket("send", { conv, cid: `${run}-${index}`, type: "text", content });
      for (let index = 0; index < contents.length; index += 100) await Promise.all(contents.slice(index, index + 100).map((content, more) => send(content, index + more)));
    }, conv, contents, crypto.randomUUID());
  }
  /** Marks everything as read for somebody else, as another device of theirs would. */
  async ack(conv, user) {
    await this.#connect(user, "other");
    const { conv: same, head } = await this.ask("open", { to: { user: this.user }, limit: 0, push: false }, "other");
    if (same !== conv) throw new Error("another conversation");
    await this.ask("ack", { conv, up_to: head }, "other");
  }
  leaves() {
    return this.context.close();
  }
}
