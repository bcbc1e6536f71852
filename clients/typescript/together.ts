// One of the two programs of "together" in ../scenario.md: CHATCTL_URL, CHATCTL_USER, CHATCTL_PEER.
import { createHash } from "node:crypto";
import { Client, type Item } from "./client.ts";
import { Link } from "./link.ts";

const { CHATCTL_URL = "", CHATCTL_USER = "", CHATCTL_PEER = "" } = process.env;
setTimeout(() => { throw new Error("it took more than 60 s"); }, 60_000);
const link = await Link.to(CHATCTL_URL);
const client = new Client({ urls: [link.url], user: CHATCTL_USER });
const got: Item[] = [];
await client.connect();
const chat = await client.open({ user: CHATCTL_PEER }, { message: (item) => got.push(item) });
async function until(holds: () => boolean) {
  for (const began = Date.now(); !holds(); await new Promise((resolve) => setTimeout(resolve, 5))) {
    if (Date.now() - began > 30_000) throw new Error(`not within 30 s; has ${got.length} messages`);
  }
}

// Both are there before the first text, so that both are handed all of them.
await chat.send("here", { type: "presence" });
await until(() => [...chat.page.items, ...got].some((item) => item.type === "presence" && item.from === CHATCTL_PEER));
for (let n = 0; n < 20; n++) {
  if (n === 10) link.cut();
  await chat.send(`${n} from TypeScript, ü🙂`, n === 15 ? { ts: Date.now() - 60_000 } : {});
}
const texts = () => got.filter((item) => item.type === "text");
await until(() => texts().length >= 40);
const lines = texts().map(({ seq, from, cid, content, ts, late }) => [seq, from, cid, content, ts, late ? "late" : ""].join(" "));
console.log(`${lines.length} messages, ${texts().filter((item) => item.late).length} late, ${createHash("sha256").update(lines.join("\n")).digest("hex")}`);
process.exit(0);
