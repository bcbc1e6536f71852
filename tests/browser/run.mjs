// The page in a real browser: node run.mjs PAGE_URL STATUS_URL TOKEN_PAGE_URL [FOLDER_OF_SCREENSHOTS]. The third is the page of a server that wants tokens,
// by the secret in CHATCTL_AUTH_SECRET. CHROMIUM names the browser where it is not /usr/bin/chromium; ONLY a part of the names of the steps to run.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import puppeteer from "puppeteer-core";
import { contrasts, PAYLOADS, Person } from "./person.mjs";
import { Raw } from "./raw.mjs";
import { absences } from "./absences.mjs";
import { groups } from "./groups.mjs";

const [url, statusUrl, tokenUrl, folder] = process.argv.slice(2);
const secret = process.env.CHATCTL_AUTH_SECRET;
if (!url || !statusUrl || !tokenUrl || !secret) {
  console.error("usage: CHATCTL_AUTH_SECRET=… node run.mjs PAGE_URL STATUS_URL TOKEN_PAGE_URL [FOLDER_OF_SCREENSHOTS]");
  process.exit(64);
}
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--force-device-scale-factor=1"],
});
// Each run has names of its own: the server may have seen another one.
const run = Math.random().toString(36).slice(2, 6);
const name = (user) => `${user}.${run}`;
const messages = ".message .text";

async function shot({ page }, file) {
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: `${folder}/page-${file}.png`, optimizeForSpeed: false });
}

const steps = {
  async "two browsers chat both ways; stored and read are told apart; presence"() {
    const [ann, bob] = [await Person.at(browser, url), await Person.at(browser, url)];
    await ann.comesIn(name("ann"));
    await ann.opens(name("bob"));
    await ann.says("hello bob");
    await ann.sees(".own .state", "stored");
    assert.deepEqual(await ann.texts(".own .state"), ["stored"]);
    await bob.comesIn(name("bob"));
    await bob.sees(".badge", "1");
    await bob.sees(".newest", "hello bob");
    await bob.opens(name("ann"));
    await bob.sees(messages, "hello bob");
    await bob.says("hello ann");
    await ann.sees(messages, "hello ann");
    await ann.sees(".own .state", "read");
    await ann.sees(".chat .presence", "online");
    await bob.until("nothing unread", () => ![...document.querySelectorAll(".badge")].some((badge) => badge.checkVisibility()));
    await bob.leaves();
    await ann.sees(".chat .presence", "offline");
    await ann.isClean();
    await ann.leaves();
  },

  async "unread messages are counted, also in the title, until they are seen"() {
    const [ann, bob] = [await Person.at(browser, url), await Person.at(browser, url)];
    await bob.comesIn(name("bert"));
    await bob.opens(`#quiet-${run}`);
    await ann.comesIn(name("anna"));
    await ann.opens(name("bert"));
    for (const text of ["one", "two", "three"]) await ann.says(text);
    await bob.sees(".badge", "3");
    await bob.until("a count in the title", () => document.title === "(3) chatctl");
    await bob.click(".chats li:not(:has([aria-current])) button");
    await bob.sees(messages, "three");
    await bob.until("no count", () => document.title === "chatctl");
    for (const person of [ann, bob]) {
      await person.isClean();
      await person.leaves();
    }
  },

  async "one goes offline, says so, comes back and resumes; what was written offline is sent once"() {
    const [ann, bob] = [await Person.at(browser, url), await Person.at(browser, url)];
    await ann.comesIn(name("amy"));
    await ann.opens(name("ben"));
    await bob.comesIn(name("ben"));
    await bob.opens(name("amy"));
    await ann.says("before");
    await bob.sees(messages, "before");
    await bob.offline(true);
    await bob.sees(".link.waiting", "offline");
    await bob.says("written offline");
    await bob.sees(".sending .state", "sending");
    await ann.says("while you were away 1");
    await ann.says("while you were away 2");
    await ann.until("both stored", () => document.querySelectorAll(".own:not(.sending)").length === 3);
    await bob.offline(false);
    await bob.sees(".link.ready", "connected");
    await bob.sees(".news", "resumed, 2 messages came meanwhile");
    await bob.until("it is sent", () => !document.querySelector(".sending"));
    const expected = ["before", "written offline", "while you were away 1", "while you were away 2"];
    for (const person of [ann, bob]) {
      await person.sees(messages, "written offline");
      assert.deepEqual(await person.texts(messages), expected);
    }
    // It carries the time at which it was written, so it arrived late: in its place, and marked.
    await ann.sees(".message.late .text", "written offline");
    await shot(bob, "resumed");
    await bob.isClean();
    await ann.isClean();
    await Promise.all([ann.leaves(), bob.leaves()]);
  },

  async "a late message is shown where it belongs, and flagged until it is read"() {
    const page = await Person.at(browser, `${url}?panes=2`, { width: 940, height: 400 });
    await page.comesIn(name("ada"), 0);
    await page.comesIn(name("bo"), 1);
    await page.opens(name("bo"), 0);
    const onTime = ["first", "second", "third", "fourth", "fifth", "sixth"];
    for (const text of onTime) await page.says(text, 0);
    await page.opens(name("ada"), 1);
    await page.sees(messages, "sixth", 1);
    await page.click(".composer [type=checkbox]", 0);
    await page.says("five minutes ago", 0);
    await page.sees(".message.late.unread .tag", "late, unread", 1);
    await page.sees(".late-bar", "1 unread message arrived late", 1);
    assert.deepEqual(await page.texts(messages, 0), ["five minutes ago", ...onTime]);
    assert.deepEqual(await page.texts(messages, 1), ["five minutes ago", ...onTime]);
    // It stands above what is in view: that is read, and it stays flagged.
    await page.page.evaluate(() => (document.querySelectorAll(".log")[1].scrollTop = 1e6));
    await page.until("what is in view is read", () => !document.querySelectorAll(".pane")[1].querySelector(".message:last-child").matches(".unread"));
    await page.sees(".message.late.unread .tag", "late, unread", 1);
    await page.click(".late-bar button", 1);
    await shot(page, "late");
    // In view for a while it counts as read: still marked as late, no longer flagged.
    await page.until("it is read", () => !document.querySelectorAll(".pane")[1].querySelector(".late.unread"));
    await page.sees(".message.late .tag", "late: came", 1);
    assert.deepEqual(await page.texts(".late-bar", 1), []);
    await page.page.reload();
    await page.sees(messages, "sixth", 1);
    assert.deepEqual(await page.texts(".late.unread", 1), [], "read on the server, too");
    await page.isClean();
    await page.leaves();
  },

  async "a late message far back stands before the mark of what is missing"() {
    const [ann, bob] = [await Raw.at(browser, url, name("far")), await Person.at(browser, url)];
    const conv = await ann.open({ user: name("back") });
    const start = Date.now() - 3_600_000;
    for (let index = 0; index < 120; index++) await ann.send(conv, `old ${index}`, start + index * 1000);
    await bob.comesIn(name("back"));
    await bob.opens(name("far"));
    await bob.sees(".mark", "Load what you missed");
    await ann.send(conv, "late and far back", start - 60_000);
    await bob.sees(".late-bar", "1 unread");
    await bob.until("it is first, and the mark second", () => {
      const [first, second] = document.querySelectorAll(".messages > li");
      return first.innerText.includes("late and far back") && second.matches(".mark");
    });
    await bob.click(".late-bar button");
    await bob.until("focus", () => document.activeElement.matches(".message.late"));
    await bob.until("read", () => !document.querySelector(".late.unread"));
    await bob.isClean();
    await Promise.all([ann.leaves(), bob.leaves()]);
  },

  async "a mark says what was missed, and loads it; history comes by scrolling"() {
    const [ann, bob] = [await Raw.at(browser, url, name("many")), await Person.at(browser, url, { height: 450 })];
    const conv = await ann.open({ user: name("missed") });
    for (let index = 1; index <= 260; index++) await ann.send(conv, `message ${index}`);
    await bob.comesIn(name("missed"));
    await bob.sees(".badge", "99+");
    await bob.opens(name("many"));
    await bob.sees(".mark.gap", "or more unread before this");
    assert.equal((await bob.texts(messages)).length, 20);
    // It scrolls away as the log stays at its end.
    await bob.page.evaluate(() => document.querySelector(".mark").scrollIntoView());
    await shot(bob, "gap");
    await bob.click(".mark button");
    await bob.until("a page of 200", () => document.querySelectorAll(".message").length >= 220);
    await bob.page.evaluate(() => document.querySelector(".mark")?.scrollIntoView());
    await bob.click(".mark button").catch(() => {}); // by now scrolling may have loaded it
    await bob.until("all", () => document.querySelectorAll(".message").length === 260);
    assert.deepEqual(await bob.texts(messages), Array.from({ length: 260 }, (_, index) => `message ${index + 1}`));
    // Read now in a fresh session: nothing is missed, and older pages come as one scrolls.
    await ann.ack(conv, name("missed"));
    const again = await Person.at(browser, url);
    await again.comesIn(name("missed"));
    await again.opens(name("many"));
    await again.sees(messages, "message 260");
    for (let count = 0; count < 12 && (await again.texts(messages)).length < 260; count++) {
      await again.page.evaluate(() => (document.querySelector(".log").scrollTop = 0));
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    assert.deepEqual((await again.texts(messages)).length, 260);
    for (const person of [bob, again]) await person.isClean();
    await Promise.all([ann.leaves(), bob.leaves(), again.leaves()]);
  },

  async "markup in names and messages stays text, and nothing runs"() {
    const [ann, eve] = [await Person.at(browser, `${url}?panes=<script>window.ran=1</script>`), await Raw.at(browser, url, name("eve"))];
    for (const payload of PAYLOADS) {
      await ann.type(".login input", payload);
      await ann.page.keyboard.press("Enter");
      await ann.until("a refusal", () => document.querySelector(".login .error")?.textContent.length > 0);
      await ann.page.reload();
    }
    await ann.comesIn(name("ana"));
    for (const payload of PAYLOADS) {
      await ann.opens(payload.slice(0, 64));
      await ann.sees(".chat .error", "cannot be opened");
      await ann.opens(`#${payload.slice(0, 64)}`);
      await ann.sees(".chat .error", "cannot be opened");
    }
    const conv = await eve.open({ user: name("ana") });
    for (const payload of PAYLOADS) await eve.send(conv, payload, undefined, payload.replaceAll(" ", "_").slice(0, 64));
    await ann.sees(".newest", PAYLOADS.at(-1));
    await ann.opens(name("eve"));
    await ann.sees(messages, PAYLOADS.at(-1));
    for (const payload of PAYLOADS) await ann.says(payload);
    await ann.until("all stored", (count) => document.querySelectorAll(".own:not(.sending)").length === count, PAYLOADS.length);
    assert.deepEqual(await ann.texts(messages), [...PAYLOADS, ...PAYLOADS]);
    assert.equal(await ann.page.evaluate(() => document.querySelectorAll("main :is(img, script, iframe, svg)").length), 0);
    await ann.isClean();
    await Promise.all([ann.leaves(), eve.leaves()]);
  },

  async "the policy holds: an inline script is refused and reported"() {
    const page = await Person.at(browser, url);
    await page.page.evaluate(() => {
      const script = document.createElement("script");
      try {
        script.textContent = "window.ran = 'inline'";
      } catch (error) {
        window.refused = error.name;
      }
      document.body.append(script);
    });
    await page.until("a report", () => window.violations.length > 0);
    assert.equal(await page.page.evaluate(() => window.ran), undefined);
    await page.leaves();
  },

  async "by the keyboard alone: come in, open, write, read history, go back, sign out"() {
    const ann = await Person.at(browser, url, { width: 900, height: 420 });
    const keys = ann.page.keyboard;
    await ann.tabTo("the name", () => document.activeElement.matches(".login input"));
    await keys.type(name("kim"));
    await keys.press("Enter");
    await ann.sees(".link", "connected");
    await ann.tabTo("the name of a chat", () => document.activeElement.matches(".chats input"));
    await keys.type(`#keys-${run}`);
    await keys.press("Enter");
    await ann.until("focus where one writes", () => document.activeElement.matches("textarea"));
    await keys.type("first line");
    await keys.down("Shift");
    await keys.press("Enter");
    await keys.up("Shift");
    await keys.type("second line");
    await keys.press("Enter");
    await ann.sees(messages, "first line\nsecond line");
    for (let index = 0; index < 12; index++) {
      await keys.type(`line ${index}`);
      await keys.press("Enter");
    }
    await ann.sees(messages, "line 11");
    await ann.tabTo("the log", () => document.activeElement.matches(".log"));
    const before = await ann.page.evaluate(() => document.querySelector(".log").scrollTop);
    await keys.press("PageUp");
    await ann.until("it scrolls", (before) => document.querySelector(".log").scrollTop < before, before);
    await ann.tabTo("the switch", () => document.activeElement.matches(".composer [type=checkbox]"));
    await keys.press("Space");
    await ann.tabTo("where one writes", () => document.activeElement.matches("textarea"));
    await keys.type("late by keys");
    await keys.press("Enter");
    await ann.sees(".message.late .text", "late by keys");
    const ring = await ann.page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(ring, "solid", "focus is to be seen");
    await ann.tabTo("sign out", () => document.activeElement.innerText === "Sign out");
    await keys.press("Enter");
    await ann.sees(".login h2", "Who are you?");
    await ann.isClean();
    await ann.leaves();
  },

  async "everything has a name and a role for who hears the page"() {
    const ann = await Person.at(browser, `${url}?panes=2`);
    await ann.comesIn(name("lea"), 0);
    await ann.opens(`#roles-${run}`, 0);
    await ann.says("hello", 0);
    const tree = await ann.page.accessibility.snapshot({ interestingOnly: true });
    const found = [];
    const walk = (node) => {
      found.push(node);
      node.children?.forEach(walk);
    };
    walk(tree);
    const nameless = found.filter(({ role, name }) => ["button", "textbox", "checkbox", "spinbutton", "region", "navigation"].includes(role) && !name);
    assert.deepEqual(nameless, []);
    assert(found.some(({ role, name }) => role === "textbox" && name.startsWith("Message")));
    // What others say is read out; history and own messages are not.
    await ann.comesIn(name("leo"), 1);
    await ann.opens(`#roles-${run}`, 1);
    await ann.says("can you hear me", 1);
    await ann.until("an announcement", () => document.querySelector("[aria-live=polite]").textContent.includes("can you hear me"));
    assert(!(await ann.page.evaluate(() => document.querySelectorAll(".pane")[1].querySelector("[aria-live=polite]").textContent)).includes("hear me"));
    await ann.isClean();
    await ann.leaves();
  },

  async "a phone: no wider than its window, list and chat by turns"() {
    const ann = await Person.at(browser, url, { width: 360, height: 640 });
    await ann.comesIn(name("pia"));
    await ann.fits();
    await ann.opens(`#${"w".repeat(64)}`);
    await ann.says("w".repeat(400));
    await ann.says("a few words");
    await ann.sees(messages, "a few words");
    await ann.fits();
    assert.deepEqual(await ann.texts(".chats"), [], "the list makes room");
    await shot(ann, "phone");
    await ann.click(".back");
    await ann.sees(".chats li", "www");
    await ann.fits();
    await ann.page.click("#panes");
    await ann.page.setViewport({ width: 320, height: 640 });
    await ann.fits();
    await ann.isClean();
    await ann.leaves();
  },

  async "dark and light: by the system, by the button, with enough contrast"() {
    for (const scheme of ["light", "dark"]) {
      const ann = await Person.at(browser, `${url}?panes=2`, { width: 940, height: 400, scheme });
      await ann.comesIn(name(`d${scheme[0]}1`), 0);
      await ann.comesIn(name(`d${scheme[0]}2`), 1);
      await ann.opens(name(`d${scheme[0]}2`), 0);
      await ann.opens(name(`d${scheme[0]}1`), 1);
      await ann.says("Is the build through?", 0);
      await ann.says("Yes, since ten minutes.", 1);
      await ann.sees(messages, "Yes, since", 0);
      await ann.sees(".own .state", "read", 0);
      await ann.click(".composer [type=checkbox]", 1);
      await ann.says("I look at it now.", 1);
      await ann.sees(".late .tag", "late, unread", 0);
      const ratios = await ann.page.evaluate(contrasts);
      assert(ratios.length > 20);
      assert.deepEqual(ratios.filter(([, ratio]) => ratio < 4.5), []);
      await shot(ann, scheme);
      const isDark = () => ann.page.evaluate(() => matchMedia("(prefers-color-scheme: dark)").matches && getComputedStyle(document.body).backgroundColor);
      const system = await ann.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      await ann.page.click("#theme");
      await ann.sees("#theme", "Theme: dark", 9);
      const dark = await ann.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      assert.equal(dark === system, scheme === "dark", `${await isDark()}`);
      await ann.isClean();
      await ann.leaves();
    }
  },

  async "/status shows the node, its engines, and rates and latencies as they are"() {
    const [ann, page] = [await Raw.at(browser, url, name("stat")), await Person.at(browser, statusUrl, { width: 860, height: 590 })];
    await page.sees("#state", "ready");
    const conv = await ann.open({ channel: `stat-${run}` });
    const end = Date.now() + 5000;
    for (let index = 0; Date.now() < end; index++) await ann.send(conv, `message ${index}`);
    await page.sees("#node", "durability class");
    await page.sees("#node", "LOCAL");
    await page.until("a rate", () => [...document.querySelectorAll("#now div")].some((fact) => fact.innerText.includes("stored per second") && Number(fact.querySelector("dd").textContent) > 20));
    await page.until("a p50 of append", () => [...document.querySelectorAll("#latencies tr")].some((row) => /^engine: append\s+[\d.]+\s+[\d.]+ (µs|ms)/.test(row.innerText)));
    await shot(page, "status");
    await page.page.setViewport({ width: 360, height: 640 });
    await page.fits();
    await page.isClean();
    await Promise.all([ann.leaves(), page.leaves()]);
  },
};

const only = process.env.ONLY;
let failed = 0;
const world = { browser, url, tokenUrl, secret, name, messages, shot };
for (const [step, act] of Object.entries({ ...steps, ...absences(world), ...groups(world) })) {
  if (only && !step.includes(only)) continue;
  try {
    await act();
    console.log(`ok: ${step}`);
  } catch (error) {
    failed++;
    console.log(`FAILED: ${step}\n${error.stack}`);
  }
}
await browser.close();
process.exit(failed > 0 ? 1 : 0);
