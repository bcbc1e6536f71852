import { h } from "./dom.js";
import { between, parse } from "./metrics.js";
import { Plot } from "./plot.js";
import { themeButton } from "./theme.js";

const EVERY_MS = 1000;
const WINDOW = 10;

/** The latencies that are shown, by the keys of `parse`. */
const STAGES = [
  ["send: frame to durable", /^chatctl_delivery_stage_seconds stored$/],
  ["delivery: queued to written in the socket", /^chatctl_delivery_stage_seconds written$/],
  ["bus: durable to another node", /^chatctl_delivery_stage_seconds travelled$/],
  ["engine: append", /^chatctl_engine_operation_seconds \S+ append$/],
  ["engine: open", /^chatctl_engine_operation_seconds \S+ open$/],
  ["engine: history", /^chatctl_engine_operation_seconds \S+ range$/],
  ["engine: acknowledge", /^chatctl_engine_operation_seconds \S+ ack$/],
];

const at = (id) => document.getElementById(id);
const looks = [];
const plots = { stored: new Plot(), frames: new Plot() };

/** A term and its value; the same element again with a new value. */
const facts = new Map();
function fact(list, term, value, { long = false, plot } = {}) {
  let shown = facts.get(term);
  if (!shown) {
    shown = h("dd");
    facts.set(term, shown);
    at(list).append(h("div", { className: long ? "long" : "" }, h("dt", {}, term), shown, plot?.element));
  }
  shown.textContent = value;
}

const duration = (seconds) => (seconds === undefined ? "–" : seconds === Infinity ? "> 5 s" : seconds < 0.001 ? `${(seconds * 1e6).toFixed(0)} µs` : `${(seconds * 1e3).toFixed(seconds < 0.01 ? 2 : 1)} ms`);
const rate = (number) => (number < 10 ? number.toFixed(1) : number.toFixed(0));
const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

async function look() {
  const [ready, metrics] = await Promise.all([fetch("/readyz"), fetch("/metrics")]);
  return { atMs: performance.now(), report: await ready.json(), ...parse(await metrics.text()) };
}

function showReport({ ready, node, engine, distribution, registry, reasons }) {
  at("state").className = ready ? "good" : "bad";
  at("state").textContent = ready ? (reasons.length > 0 ? "ready, but:" : "ready") : "not ready:";
  at("reasons").replaceChildren(...reasons.map(({ code, message }) => h("li", {}, h("b", {}, code), ` ${message}`)));
  fact("node", "messages in", engine.name);
  fact("node", "durability class", engine.durability);
  fact("node", "hints by", distribution.name);
  fact("node", "registry", registry.name);
  fact("node", "node", node, { long: true });
}

function showNow(now, before) {
  const seconds = (now.atMs - before.atMs) / 1000;
  const value = (name) => now.values.get(name) ?? 0;
  const perSecond = (name) => Math.max(0, value(name) - (before.values.get(name) ?? 0)) / seconds;
  const stored = perSecond("chatctl_messages_appended_total");
  const written = perSecond("chatctl_delivery_stage_seconds_count written");
  plots.stored.add(stored);
  plots.frames.add(written);
  fact("now", "sessions", value("chatctl_sessions"));
  fact("now", "connections", value("chatctl_connections"));
  fact("now", "stored per second", rate(stored), { plot: plots.stored });
  fact("now", "deliveries per second", rate(written), { plot: plots.frames });
  fact("now", "commands that wait", value("chatctl_work_waiting writes") + value("chatctl_work_waiting reads"));
  fact("now", "syncs per second", rate(perSecond("chatctl_syncs_total")));
  fact("now", "CPU", `${(perSecond("chatctl_process_cpu_seconds_total") * 100).toFixed(0)} %`);
  fact("now", "memory", megabytes(value("chatctl_process_resident_bytes")));
}

function showLatencies(now, first) {
  const seconds = (now.atMs - first.atMs) / 1000;
  const rows = STAGES.flatMap(([name, key]) => [...now.histograms].filter(([found]) => key.test(found)).map(([found, after]) => {
    const { count, p50, p99 } = between(first.histograms.get(found), after);
    return h("tr", {}, h("th", { scope: "row" }, name), ...[rate(count / seconds), duration(p50), duration(p99)].map((text) => h("td", {}, text)));
  }));
  at("latencies").replaceChildren(...rows);
}

async function run() {
  try {
    const now = await look();
    const before = looks.at(-1);
    // A counter that went back: another process answers here.
    if (before && (now.values.get("chatctl_process_cpu_seconds_total") ?? 0) < (before.values.get("chatctl_process_cpu_seconds_total") ?? 0)) looks.length = 0;
    showReport(now.report);
    if (looks.length > 0) {
      showNow(now, looks.at(-1));
      showLatencies(now, looks[0]);
    }
    looks.push(now);
    if (looks.length > WINDOW) looks.shift();
  } catch {
    at("state").className = "bad";
    at("state").textContent = "no answer; asking again";
  }
  setTimeout(run, EVERY_MS);
}

themeButton(at("theme"));
void run();
