const before = (one, other) => one.ts - other.ts || one.seq - other.seq;

/**
 * Messages in the order of display, `(ts, seq)`. From `floor` on it is whole; older ones stand alone (late messages far back) until history is
 * read down to them.
 */
export class Timeline {
  /** Ascending by `(ts, seq)`. */
  items = [];
  /** The oldest message from which on nothing is missing. */
  floor;
  /** The cursor of what is older than `floor`; absent at the beginning of the conversation. */
  next;
  #seqs = new Map();

  /** The newest page of an `open`, and the unread late messages beside it. */
  static of(page) {
    const timeline = new Timeline();
    timeline.#older(page.items, page.next);
    for (const item of page.late ?? []) timeline.add(item);
    return timeline;
  }
  get(seq) {
    return this.#seqs.get(seq);
  }
  /** Puts a message where it belongs; `false` when it was there. */
  add(item) {
    if (this.#seqs.has(item.seq)) return false;
    this.#seqs.set(item.seq, item);
    let index = this.items.length;
    while (index > 0 && before(item, this.items[index - 1]) < 0) index--;
    this.items.splice(index, 0, item);
    return true;
  }
  /** A page of history below `floor`, ascending or descending. */
  addOlder(items, next) {
    this.#older([...items].sort(before), next);
  }
  /** Whether a message is older than what is whole. */
  isApart(item) {
    return this.next !== undefined && this.floor !== undefined && before(item, this.floor) < 0;
  }
  #older(items, next) {
    for (const item of items) this.add(item);
    this.floor = items[0] ?? this.floor;
    this.next = next;
  }
}
