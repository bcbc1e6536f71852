// Private groups in the page: create, invite, remove, quit.
import assert from "node:assert/strict";
import { contrasts, Person } from "./person.mjs";

export const groups = ({ browser, url, name, messages, shot }) => ({
  async "a private group: made, invited to, removed from, quitted"() {
    const [ann, bob, eve] = [await Person.at(browser, url), await Person.at(browser, url), await Person.at(browser, url)];
    const people = [[ann, name("gina")], [bob, name("gus")], [eve, name("gale")]];
    for (const [person, user] of people) await person.comesIn(user);
    await ann.click(".new-group");
    await ann.sees(".chat h2", "group ");
    await ann.sees(".members summary", "1 member: invite others");
    await ann.click(".members summary");
    for (const [, user] of people.slice(1)) {
      await ann.type(".members input", user);
      await ann.page.keyboard.press("Enter");
      await ann.sees(".members li", user);
    }
    await ann.sees(".members summary", "3 members");
    await ann.sees(".members li .tag", "owner");
    // An empty group is in no list; who was invited sees it all the same.
    for (const person of [bob, eve]) {
      await person.sees(".chats li", "group ");
      await person.click(".chats li button");
      await person.sees(".chat h2", "group ");
    }
    await ann.says("welcome, both");
    for (const person of [bob, eve]) await person.sees(messages, "welcome, both");
    await bob.click(".members summary");
    assert.deepEqual(await bob.texts(".members li button"), [], "only the owner removes");
    await ann.type(".members input", "no such name!");
    await ann.page.keyboard.press("Enter");
    await ann.sees(".members .error", "user");
    await shot(ann, "group");
    await ann.click(`.members li [aria-label="Remove ${name("gale")}"]`);
    await eve.sees(".chat .error", "not in this group any more");
    await ann.says("without her");
    await bob.sees(messages, "without her");
    assert(!(await eve.texts(messages)).includes("without her"));
    await ann.sees(".members summary", "2 members");
    await bob.sees(".members summary", "2 members");
    // The owner quits: her place goes on to him, and he removes nobody but is alone.
    await ann.click(".members .quit");
    await ann.until("no chat", () => !document.querySelector(".chat"));
    await ann.until("no row of it", () => !document.querySelector(".chats li"));
    await bob.sees(".members summary", "1 member");
    await bob.sees(".members li .tag", "owner");
    await bob.says("to myself");
    await bob.sees(".own .text", "to myself");
    // Both are gone from it also after a reload.
    for (const person of [ann, eve]) {
      await person.page.reload();
      await person.sees(".link", "connected");
    }
    await new Promise((resolve) => setTimeout(resolve, 600));
    for (const person of [ann, eve]) assert.deepEqual(await person.texts(".chats li .name"), []);
    for (const [person] of people) {
      await person.isClean();
      await person.leaves();
    }
  },

  async "a private group by the keyboard alone, on a phone, dark and light"() {
    for (const scheme of ["dark", "light"]) {
      const ann = await Person.at(browser, url, { width: 375, height: 640, scheme });
      const keys = ann.page.keyboard;
      const user = name(`k${scheme[0]}`);
      await ann.tabTo("the name", () => document.activeElement.matches(".login input"));
      await keys.type(user);
      await keys.press("Enter");
      await ann.sees(".link", "connected");
      await ann.fits();
      await ann.tabTo("a new group", () => document.activeElement.matches(".new-group"));
      await keys.press("Enter");
      await ann.sees(".members summary", "1 member");
      await ann.tabTo("the members", () => document.activeElement.matches("summary"));
      await keys.press("Enter");
      await ann.tabTo("the name to invite", () => document.activeElement.matches(".members input"));
      await keys.type("w".repeat(64));
      await keys.press("Enter");
      await ann.sees(".members li", "www");
      await keys.type("no such name!");
      await keys.press("Enter");
      await ann.sees(".members .error", "user");
      await ann.tabTo("where one writes", () => document.activeElement.matches("textarea"));
      await keys.type("by keys");
      await keys.press("Enter");
      await ann.sees(messages, "by keys");
      await ann.sees(".own .state", "stored");
      await ann.fits();
      assert.deepEqual((await ann.page.evaluate(contrasts)).filter(([, ratio]) => ratio < 4.5), []);
      if (scheme === "dark") await shot(ann, "group-phone");
      await ann.tabTo("to remove", () => document.activeElement.innerText === "Remove");
      await keys.press("Enter");
      await ann.until("focus stays in the group", () => document.activeElement.matches(".members input") && document.querySelectorAll(".members li").length === 1);
      await ann.tabTo("to quit", () => document.activeElement.matches(".quit"));
      await keys.press("Enter");
      await ann.until("focus in the list", () => document.activeElement.matches(".chats input"));
      await ann.isClean();
      await ann.leaves();
    }
  },
});
