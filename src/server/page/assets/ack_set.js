/** What is acknowledged: everything up to a number, and half-open ranges above it. */
export class AckSet {
  constructor({ up_to = 0, ranges = [] } = {}) {
    this.up_to = up_to;
    this.ranges = ranges;
  }
  has(seq) {
    return seq <= this.up_to || this.ranges.some(([lo, hi]) => lo <= seq && seq < hi);
  }
}

/** Numbers as half-open ranges, ascending and merged. */
export function rangesOf(numbers) {
  const ranges = [];
  for (const seq of [...numbers].sort((one, other) => one - other)) {
    const top = ranges.at(-1);
    if (top && seq <= top[1]) top[1] = Math.max(top[1], seq + 1);
    else ranges.push([seq, seq + 1]);
  }
  return ranges;
}
