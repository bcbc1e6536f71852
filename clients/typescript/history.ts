// What only saves typing.
import type { Acked, Conversation, Item, Read, Unread } from "./client.ts";

/** History to its end, page by page. `{ late: true }`: all that is late and unread. */
export async function* history(chat: Conversation, query: Read = {}): AsyncGenerator<Item> {
  for (let cursor = query.cursor; ; ) {
    const { items, next } = await chat.call("read", { ...query, cursor });
    yield* items;
    if (!(cursor = next)) return;
  }
}

/** Acknowledges exactly these: while `page.gap` or `page.late_next` says that more is unread than was shown. */
export async function ackItems(chat: Conversation, shown: Item[], atOnce = 100): Promise<{ acked: Acked } & Unread> {
  const ranges: [number, number][] = [];
  for (const { seq } of [...shown].sort((one, other) => one.seq - other.seq)) {
    const top = ranges.at(-1);
    if (top && seq <= top[1]) top[1] = seq + 1;
    else ranges.push([seq, seq + 1]);
  }
  for (;;) {
    const reply = await chat.call("ack", { ranges: ranges.splice(0, atOnce) });
    if (ranges.length === 0) return reply;
  }
}
