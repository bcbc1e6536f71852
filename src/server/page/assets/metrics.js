const LINE = /^([a-z_]+?)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-z_]+)="((?:[^"\\]|\\.)*)"/g;

/** The text form of Prometheus as `{counters: Map(name and labels → value), histograms: Map(name and labels → Map(le → count))}`. */
export function parse(text) {
  const [values, histograms] = [new Map(), new Map()];
  for (const line of text.split("\n")) {
    const match = LINE.exec(line);
    if (!match) continue;
    const [, name, labels = "", value] = match;
    const pairs = [...labels.matchAll(LABEL)].map(([, key, text]) => [key, text]);
    const le = pairs.find(([key]) => key === "le")?.[1];
    const others = pairs.filter(([key]) => key !== "le").map(([, text]) => text);
    if (le === undefined) values.set([name, ...others].join(" "), Number(value));
    else {
      const key = [name.replace(/_bucket$/, ""), ...others].join(" ");
      if (!histograms.has(key)) histograms.set(key, new Map());
      histograms.get(key).set(le === "+Inf" ? Infinity : Number(le), Number(value));
    }
  }
  return { values, histograms };
}

/** What happened between two looks at a histogram: how often, and its percentiles in seconds (upper ends of buckets, interpolated within). */
export function between(before, after) {
  const counts = [...after].sort(([one], [other]) => one - other).map(([le, count]) => [le, count - (before?.get(le) ?? 0)]);
  const count = counts.at(-1)?.[1] ?? 0;
  return { count, p50: percentile(counts, 0.5), p99: percentile(counts, 0.99) };
}

// Fewer samples than 10/(1−q) say nothing about the quantile q.
function percentile(counts, share) {
  const total = counts.at(-1)?.[1] ?? 0;
  if (total < 10 / (1 - share)) return undefined;
  const wanted = total * share;
  let [low, below] = [0, 0];
  for (const [le, count] of counts) {
    if (count >= wanted) return le === Infinity ? Infinity : low + ((le - low) * (wanted - below)) / (count - below || 1);
    [low, below] = [le, count];
  }
}
