// Somebody before a browser of their own: what they do, and what they see.
import assert from "node:assert/strict";

const PATIENCE_MS = 15_000;

/** Payloads that would run, or draw something, if text were ever taken for markup. */
export const PAYLOADS = [
  "<img src=x onerror=\"window.ran='img'\">",
  "<script>window.ran='script'</script>",
  "<svg onload=\"window.ran='svg'\"></svg>",
  "\"'><b onmouseover=window.ran=1>bold</b>",
  "javascript:window.ran='url'",
  "</p><iframe srcdoc=\"<script>parent.ran='frame'</script>\"></iframe>",
  "{{constructor.constructor('window.ran=1')()}}",
];

export class Person {
  /** What the browser complained of: errors of scripts, violations of the policy, dialogs. */
  complaints = [];

  static async at(browser, url, { width = 900, height = 600, scheme = "light" } = {}) {
    const person = new Person();
    person.context = await browser.createBrowserContext();
    const page = (person.page = await person.context.newPage());
    await page.setViewport({ width, height });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.evaluateOnNewDocument(() => {
      window.violations = [];
      addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
    });
    page.on("pageerror", (error) => person.complaints.push(`error: ${error.message}`));
    page.on("dialog", (dialog) => (person.complaints.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
    page.on("console", (message) => {
      // A connection that fails while we are offline is no fault of the page.
      if (message.type() === "error" && !/ERR_INTERNET_DISCONNECTED/.test(message.text())) person.complaints.push(`console: ${message.text()}`);
    });
    await page.goto(url, { waitUntil: "load" });
    return person;
  }

  /** Waits until a function in the page is truthy: its value. */
  async until(what, test, ...given) {
    try {
      return await (await this.page.waitForFunction(test, { timeout: PATIENCE_MS, polling: 50 }, ...given)).jsonValue();
    } catch (error) {
      const text = await this.page.evaluate(() => document.body.innerText).catch(() => "");
      throw new Error(`waited for: ${what} (${error.message}). The page says:\n${text}`);
    }
  }
  sees(selector, text, pane = 0) {
    return this.until(`${text} in ${selector}`, (selector, text, pane) => {
      const root = document.querySelectorAll(".pane")[pane] ?? document;
      return [...root.querySelectorAll(selector)].some((element) => element.checkVisibility() && element.innerText.includes(text));
    }, selector, text, pane);
  }
  /** Texts of what a selector finds, that are shown. */
  texts(selector, pane = 0) {
    return this.page.evaluate((selector, pane) => {
      const root = document.querySelectorAll(".pane")[pane] ?? document;
      return [...root.querySelectorAll(selector)].filter((element) => element.checkVisibility()).map((element) => element.innerText);
    }, selector, pane);
  }
  async #element(selector, pane) {
    const root = await this.page.evaluateHandle((pane) => document.querySelectorAll(".pane")[pane] ?? document, pane);
    const element = await root.$(selector);
    assert(element, `there is a ${selector}`);
    return element;
  }
  async type(selector, text, pane = 0) {
    const element = await this.#element(selector, pane);
    await element.click({ count: 3 });
    await element.type(text);
  }
  async click(selector, pane = 0) {
    await (await this.#element(selector, pane)).click();
  }

  async comesIn(user, pane = 0) {
    await this.sees(".login h2", "Who are you?", pane);
    await this.type(".login input", user, pane);
    await this.page.keyboard.press("Enter");
    await this.sees(".link", "connected", pane);
  }
  async opens(name, pane = 0) {
    await this.type(".chats input", name, pane);
    await this.page.keyboard.press("Enter");
    await this.sees(".chat h2", name, pane);
    await this.until("an open chat", (pane) => !document.querySelectorAll(".pane")[pane].querySelector(".chat textarea").disabled, pane);
  }
  async says(text, pane = 0) {
    await this.type(".composer textarea", text, pane);
    await this.page.keyboard.press("Enter");
  }
  /** Presses Tab until this holds. */
  async tabTo(what, matches) {
    for (let count = 0; count < 40; count++) {
      if (await this.page.evaluate(matches)) return;
      await this.page.keyboard.press("Tab");
    }
    assert.fail(`Tab never came to ${what}`);
  }
  offline(isOffline) {
    return this.page.setOfflineMode(isOffline);
  }
  /** No wider than its window. */
  async fits() {
    const [needed, window] = await this.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert(needed <= window, `${needed} px in a window of ${window} px`);
  }
  /** Nothing ran, nothing was tried, nothing failed. */
  async isClean() {
    assert.deepEqual(await this.page.evaluate(() => [window.ran ?? null, window.violations]), [null, []]);
    assert.deepEqual(this.complaints, []);
  }
  async leaves() {
    await this.context.close();
  }
}

// In the page: each shown text, and its contrast to what is behind it (WCAG 2, 1.4.3).
export function contrasts() {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = (color) => {
    const [r, g, b] = [...rgba(color)].slice(0, 3).map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => (rgba(getComputedStyle(element).backgroundColor)[3] === 255 || !element.parentElement ? getComputedStyle(element).backgroundColor : behind(element.parentElement));
  return [...document.querySelectorAll("body *")]
    .filter((element) => element.checkVisibility() && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .map((element) => {
      const [one, other] = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((a, b) => b - a);
      return [element.innerText.slice(0, 40), (one + 0.05) / (other + 0.05)];
    });
}
