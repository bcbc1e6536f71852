// Who was away, loads the page again, or whose token ends: the session goes on.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { Person } from "./person.mjs";
import { Raw } from "./raw.mjs";

const MISSED = 300;
/** More than a server resumes by default (`resume_max`). */
const TOO_MANY = 1100;
const CAUGHT_UP_MS_MAX = 5000;

function tokenOf(user, secret, seconds) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: user, iat: now, exp: now + seconds })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}
const shown = () => document.querySelectorAll(".message:not(.sending)").length;

export const absences = ({ browser, url, tokenUrl, secret, name, messages, shot }) => ({
  async "300 messages come while one is offline: all of them, once, in order, and soon"() {
    const [ann, bob] = [await Person.at(browser, url), await Person.at(browser, url)];
    const eve = await Raw.at(browser, url, name("writer"));
    const channel = `away-${name("x")}`;
    for (const person of [ann, bob]) {
      await person.comesIn(name(person === ann ? "stays" : "goes"));
      await person.opens(`#${channel}`);
    }
    const conv = await eve.open({ channel });
    await eve.send(conv, "before");
    await bob.sees(messages, "before");
    await bob.offline(true);
    await bob.sees(".link.waiting", "offline");
    const half = Array.from({ length: MISSED / 2 }, (_, index) => `missed ${index}`);
    await eve.sendAll(conv, half);
    assert.equal(await bob.page.evaluate(shown), 1);
    // The other half is being sent while he comes back.
    const more = Array.from({ length: MISSED / 2 }, (_, index) => `missed ${MISSED / 2 + index}`);
    const [began, sending] = [Date.now(), eve.sendAll(conv, more)];
    await bob.offline(false);
    await bob.until("all", (count) => document.querySelectorAll(".message").length >= count, MISSED + 1);
    const took = Date.now() - began;
    await sending;
    await bob.sees(".news", "resumed");
    const expected = ["before", ...half, ...more];
    for (const person of [ann, bob]) {
      await person.sees(messages, more.at(-1));
      assert.deepEqual(await person.texts(messages), expected);
    }
    console.log(`note: ${MISSED} missed messages were shown ${took} ms after the network was back`);
    assert(took < CAUGHT_UP_MS_MAX, `${took} ms`);
    for (const person of [ann, bob]) {
      await person.isClean();
      await person.leaves();
    }
    await eve.leaves();
  },

  async "more than is resumed: a fresh page, a mark that counts, and all of it by history"() {
    const [bob, eve] = [await Person.at(browser, url, { height: 450 }), await Raw.at(browser, url, name("author"))];
    const channel = `long-${name("x")}`;
    await bob.comesIn(name("long"));
    await bob.opens(`#${channel}`);
    const conv = await eve.open({ channel });
    await eve.send(conv, "before");
    await bob.sees(messages, "before");
    await bob.until("read", () => !document.querySelector(".message.unread"));
    await bob.offline(true);
    await bob.sees(".link.waiting", "offline");
    const missed = Array.from({ length: TOO_MANY }, (_, index) => `missed ${index}`);
    await eve.sendAll(conv, missed);
    await bob.offline(false);
    await bob.sees(".news", "back, with a fresh page");
    await bob.sees(messages, missed.at(-1));
    const mark = () => document.querySelector(".mark.gap")?.innerText.includes("or more unread before this");
    await bob.until("the mark of a gap", mark);
    for (let count = 0; count < 40 && (await bob.page.evaluate(shown)) < TOO_MANY + 1; count++) {
      await bob.page.evaluate(() => document.querySelector(".mark button")?.click());
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.deepEqual(await bob.texts(messages), ["before", ...missed]);
    assert.deepEqual(await bob.texts(".mark"), [], "nothing is missing any more");
    await bob.isClean();
    await Promise.all([bob.leaves(), eve.leaves()]);
  },

  async "what was typed and not answered survives a reload of the tab, and is stored once"() {
    const [ann, bob] = [await Person.at(browser, url), await Person.at(browser, url)];
    await ann.comesIn(name("ria"));
    await ann.opens(name("rob"));
    await bob.comesIn(name("rob"));
    await bob.opens(name("ria"));
    await ann.says("before");
    await bob.sees(messages, "before");
    // One was never sent, of the other the answer is lost: the server has it when the page is loaded again.
    await bob.page.evaluate(() => {
      const send = WebSocket.prototype.send;
      WebSocket.prototype.send = function (text) {
        if (text.includes("never sent")) return;
        if (text.includes("answer lost")) this.onmessage = () => {};
        send.call(this, text);
      };
    });
    await bob.says("answer lost");
    await ann.sees(messages, "answer lost");
    await bob.says("never sent");
    await bob.until("two that wait", () => document.querySelectorAll(".sending").length === 2);
    const cids = () => bob.page.evaluate(() => Object.values(JSON.parse(sessionStorage.getItem("chatctl.pane.1")).unsent ?? {}).flat().map(({ cid }) => cid));
    const kept = await cids();
    assert.equal(kept.length, 2);
    await bob.page.reload();
    await bob.sees(messages, "never sent");
    await bob.until("both stored", () => document.querySelectorAll(".own:not(.sending)").length === 2 && !document.querySelector(".sending"));
    for (const person of [ann, bob]) {
      await person.sees(messages, "never sent");
      assert.deepEqual(await person.texts(messages), ["before", "answer lost", "never sent"]);
    }
    assert.deepEqual(await cids(), []);
    // Also of a chat that is not the one shown, and not for somebody else.
    await bob.offline(true);
    await bob.sees(".link.waiting", "offline");
    await bob.says("while offline");
    await bob.click(".bar button");
    await bob.offline(false);
    await bob.page.reload();
    await bob.comesIn(name("other"));
    assert.deepEqual(await cids(), []);
    await bob.isClean();
    await ann.isClean();
    await Promise.all([ann.leaves(), bob.leaves()]);
  },

  async "a token that ends: another one is asked for in place, and the session goes on"() {
    const ann = await Person.at(browser, tokenUrl, { width: 375, height: 560 });
    const comesIn = async (token) => {
      await ann.sees(".login h2", "Who are you?");
      await ann.page.evaluate(() => (document.querySelector(".login details").open = true));
      await ann.type(".login [type=password]", token);
      await ann.page.keyboard.press("Enter");
      await ann.sees(".link", "connected");
    };
    const life = 8;
    const end = Date.now() + life * 1000;
    await comesIn(tokenOf(name("toni"), secret, life));
    await ann.opens(`#tokens-${name("x")}`);
    await ann.says("before");
    await ann.sees(".own .state", "stored");
    await ann.page.evaluate(() => {
      window.links = [];
      new MutationObserver(() => window.links.push(document.querySelector(".link").className)).observe(document.querySelector(".link"), { attributes: true });
    });
    // In the half of what is left of it the server says so.
    await ann.sees(".renewal", "Your token ends at");
    assert(Date.now() < end, "before it ends");
    await ann.fits();
    await shot(ann, "token");
    await ann.type(".renewal input", tokenOf(name("toni"), secret, 3600));
    await ann.page.keyboard.press("Enter");
    await ann.sees(".news", "a new token, until");
    assert.deepEqual(await ann.texts(".renewal"), []);
    await new Promise((resolve) => setTimeout(resolve, end + 4000 - Date.now())); // the end, and what clocks may be apart
    await ann.says("after");
    await ann.until("both stored", () => document.querySelectorAll(".own:not(.sending)").length === 2);
    assert.deepEqual(await ann.page.evaluate(() => window.links), [], "never away");
    // Tokens are not kept: after a reload it is asked for, and the chat is where it was. Nobody else's token opens it.
    await ann.page.reload();
    await ann.sees(".login .error", "give it once more");
    assert(!(await ann.page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }))).includes("eyJ"), "no token in storage");
    await comesIn(tokenOf(name("toni"), secret, 3600));
    await ann.sees(messages, "after");
    await ann.page.reload();
    await comesIn(tokenOf(name("tessa"), secret, 3600));
    assert.deepEqual(await ann.texts(messages), []);
    await ann.isClean();
    await ann.leaves();
  },

  async "a token that ends without another one: the page says so, and what was typed is sent after the next"() {
    const ann = await Person.at(browser, tokenUrl);
    const comesIn = async (seconds) => {
      await ann.sees(".login h2", "Who are you?");
      await ann.page.evaluate(() => (document.querySelector(".login details").open = true));
      await ann.type(".login [type=password]", tokenOf(name("tom"), secret, seconds));
      await ann.page.keyboard.press("Enter");
      await ann.sees(".link", "connected");
    };
    await comesIn(3);
    await ann.opens(`#ends-${name("x")}`);
    await ann.page.evaluate(() => (WebSocket.prototype.send = () => {}));
    await ann.says("typed before the end");
    await ann.sees(".login .error", "token");
    await ann.page.reload();
    await comesIn(3600);
    await ann.sees(".own:not(.sending) .text", "typed before the end");
    assert.deepEqual(await ann.texts(messages), ["typed before the end"]);
    await ann.isClean();
    await ann.leaves();
  },
});
