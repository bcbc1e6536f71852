// Draws the plots of a report into the figures that the page left for them.
//
// The data is one JSON value (#data): latencies in µs, times in s, what there is not as null. Each figure
// says by data-plot what it is, and by data-run, data-latency and so on of what. What was drawn is written
// back into the figure's data-drawn, data-series, data-points, data-y-max and data-y-unit, and errors of any script into
// data-errors of the root, where a test finds them.
"use strict";

(() => {
  const root = document.documentElement;
  const errors = [];
  const report = (message) => {
    errors.push(String(message));
    root.dataset.errors = JSON.stringify(errors);
  };
  root.dataset.errors = "[]";
  window.addEventListener("error", (event) => report(event.message));
  window.addEventListener("unhandledrejection", (event) => report(event.reason));
  document.addEventListener("securitypolicyviolation", (event) =>
    report(`${event.violatedDirective} ${event.blockedURI}`));

  const data = JSON.parse(document.getElementById("data").textContent);

  // ---- Colours: from the style sheet, so that they follow the theme.

  const SERIES_COLOURS = 8;
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const seriesColour = (index) => colour(`series-${(index % SERIES_COLOURS) + 1}`);
  // Where the colours begin again, lines are dashed.
  const seriesDash = (index) => (index < SERIES_COLOURS ? undefined : [6, 4]);

  // ---- Numbers as people read them.

  const number = (value) => {
    if (value == null) return "–";
    const size = Math.abs(value);
    const digits = size === 0 || size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
    return value.toLocaleString("en", { maximumFractionDigits: digits }).replaceAll(",", "\u202f");
  };
  // 10 000 as 10k: labels of axes have no room.
  const short = (value) => {
    const size = Math.abs(value);
    if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
    if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
    return String(+value.toPrecision(6));
  };
  // One unit per plot, that of its largest value.
  const latencyUnit = (maxUs) => {
    if (maxUs < 1_000) return { name: "µs", us: 1 };
    if (maxUs < 1_000_000) return { name: "ms", us: 1_000 };
    return { name: "s", us: 1_000_000 };
  };
  // 1 / (1 − q) as the percentile that people know: 100 is 99 %.
  const percentile = (inverse) => {
    const digits = Math.max(0, Math.round(Math.log10(inverse)) - 2);
    return `${(100 * (1 - 1 / inverse)).toFixed(inverse <= 100 ? 0 : digits)}`;
  };

  const numbers = (columns) => columns.flat().filter((value) => value != null);
  // A wide spread is only seen on a logarithmic axis; nothing at or below zero can be on one.
  const wantsLog = (values) => {
    const least = Math.min(...values);
    return least > 0 && Math.max(...values) / least > 20;
  };

  // ---- Parts of a plot.

  const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, Arial, 'Liberation Sans', sans-serif";

  const axis = (label, more) => ({
    label,
    labelFont: FONT,
    font: FONT,
    labelSize: 20,
    size: 32,
    stroke: colour("muted"),
    grid: { stroke: colour("grid"), width: 1 },
    ticks: { stroke: colour("line"), width: 1, size: 5 },
    ...more,
  });

  const yAxis = (label) => axis(label, {
    size: 52,
    values: (_, splits) => splits.map((value) => (value == null ? "" : short(value))),
  });

  const yScale = (values) => (wantsLog(values)
    // A little room, so that no line runs along the edge.
    ? { distr: 3, log: 10, range: (_, min, max) => uPlot.rangeLog(min / 1.1, max * 1.1, 10, false) }
    : { range: (_, _min, max) => [0, max > 0 ? max * 1.08 : 1] });

  const line = (label, index, more) => ({
    label,
    stroke: seriesColour(index),
    dash: seriesDash(index),
    width: 1.75,
    value: (_, value) => number(value),
    ...more,
  });

  // Room above a plot for the labels of its marks, in as many rows.
  const MARK_ROWS_MAX = 4;
  const MARK_ROW = 15;
  const padding = (marks) => [8 + MARK_ROW * Math.min(marks.length, MARK_ROWS_MAX), 18, 0, 0];

  // Marks of a run: a band from at_s to until_s, or a line; labels stand above, each in the first row that has room.
  const marksPlugin = (marks) => ({
    hooks: {
      draw: (plot) => {
        const figure = plot.root.closest("figure");
        // Destroyed before it was drawn.
        if (!figure) return;
        figure.dataset.marks = marks.length;
        const { ctx } = plot;
        const { left, top, width, height } = plot.bbox;
        const ratio = devicePixelRatio;
        const rowEnds = [];
        const labels = [];
        ctx.save();
        ctx.font = `${12 * ratio}px system-ui, sans-serif`;
        ctx.textAlign = "left";
        ctx.textBaseline = "bottom";
        const inside = (at) => Math.min(left + width, Math.max(left, at));
        for (const mark of [...marks].sort((one, other) => one.at_s - other.at_s)) {
          const from = inside(plot.valToPos(mark.at_s, "x", true));
          const to = mark.until_s == null ? from : inside(plot.valToPos(mark.until_s, "x", true));
          ctx.fillStyle = colour("mark-band");
          ctx.fillRect(from, top, to - from, height);
          ctx.fillStyle = colour("mark");
          const text = mark.target == null ? mark.label : `${mark.label}, ${mark.target}`;
          const wide = ctx.measureText(text).width + 4 * ratio;
          // A label that would not fit at the right ends at the edge.
          const at = Math.max(0, Math.min(from, left + width - wide));
          let row = rowEnds.findIndex((end) => end < at);
          if (row < 0) row = Math.min(rowEnds.length, MARK_ROWS_MAX - 1);
          rowEnds[row] = at + wide + 8 * ratio;
          const bottom = top - (2 + row * MARK_ROW) * ratio;
          ctx.fillRect(from, bottom, ratio, top + height - bottom);
          labels.push({ text, at, bottom, wide });
        }
        // Over the lines of other marks, not under them.
        for (const { text, at, bottom, wide } of labels) {
          ctx.fillStyle = colour("page");
          ctx.fillRect(at + ratio, bottom - (MARK_ROW - 2) * ratio, wide, (MARK_ROW - 2) * ratio);
          ctx.fillStyle = colour("mark");
          ctx.fillText(text, at + 3 * ratio, bottom);
        }
        ctx.restore();
      },
    },
  });

  // ---- The kinds of plots: each returns uPlot's options and data, or nothing.

  const LAST_SPLIT = 8;
  const percentileSplits = [1, 2, ...Array.from({ length: LAST_SPLIT }, (_, n) => 10 ** (n + 1))];

  const curvesPlot = (curves) => {
    const values = numbers(curves.map((curve) => curve.us));
    if (values.length === 0) return null;
    const unit = latencyUnit(Math.max(...values));
    const points = Math.max(...curves.map((curve) => curve.us.length));
    const inverses = data.inverses.slice(0, points);
    const columns = curves.map((curve) =>
      inverses.map((_, index) => (index < curve.us.length ? curve.us[index] / unit.us : null)));
    const last = Math.max(inverses.at(-1), 2);
    return {
      options: {
        scales: { x: { time: false, distr: 3, log: 10, range: () => [1, last] }, y: yScale(numbers(columns)) },
        axes: [
          axis("percentile, % (logarithmic in what lies beyond)", {
            splits: () => percentileSplits.filter((inverse) => inverse <= last * 1.001),
            // All of them: uPlot leaves most labels of a logarithmic axis out.
            filter: (_, splits) => splits,
            values: (_, splits) => splits.map(percentile),
          }),
          yAxis(`latency, ${unit.name}`),
        ],
        series: [
          { label: "percentile", value: (_, inverse) => (inverse == null ? "–" : percentileValue(inverse)) },
          ...curves.map((curve, index) => line(`${curve.label}, ${unit.name}`, index, { points: { show: false } })),
        ],
      },
      columns: [inverses, ...columns],
      unit: unit.name,
    };
  };
  const percentileValue = (inverse) => `${(100 * (1 - 1 / inverse)).toPrecision(inverse < 100 ? 3 : 5)} %`;

  const timeAxis = () => axis("time since the start, s", { values: (_, splits) => splits.map(short) });

  // From 0 to the end of the last interval: a run with one interval has a width too.
  const timeScale = (overTime) => ({
    time: false,
    range: () => [0, overTime.at_s.length * overTime.width_s],
  });

  const timeSeries = { label: "at", value: (_, at) => (at == null ? "–" : `${number(at)} s`) };
  // Points are shown where there is room for them, and alone between gaps, where a line needs two.
  const points = { size: 5, space: 12 };

  const latencyOverTimePlot = (run, latency) => {
    const overTime = run.over_time;
    const all = overTime?.latencies.find((other) => other.latency === latency);
    if (!all) return null;
    const parts = [["p50", all.p50_us, 0], ["p99", all.p99_us, 1], ["max", all.max_us, 7]];
    const values = numbers(parts.map(([, us]) => us));
    const unit = latencyUnit(Math.max(...values));
    const columns = parts.map(([, us]) => us.map((value) => (value == null ? null : value / unit.us)));
    return {
      options: {
        scales: { x: timeScale(overTime), y: yScale(numbers(columns)) },
        axes: [timeAxis(), yAxis(`${latency} latency, ${unit.name}`)],
        series: [timeSeries, ...parts.map(([name, , index]) => line(`${name}, ${unit.name}`, index, { points }))],
        padding: padding(run.marks),
        plugins: run.marks.length > 0 ? [marksPlugin(run.marks)] : [],
      },
      columns: [overTime.at_s, ...columns],
      unit: unit.name,
    };
  };

  const ratesPlot = (run) => {
    const overTime = run.over_time;
    if (!overTime) return null;
    const columns = overTime.latencies.map((all) => all.per_s);
    return {
      options: {
        scales: { x: timeScale(overTime), y: { range: (_, _min, max) => [0, max > 0 ? max * 1.08 : 1] } },
        axes: [timeAxis(), yAxis("completed, per second")],
        series: [timeSeries, ...overTime.latencies.map((all, index) => line(`${all.latency}, per s`, index, { points }))],
        padding: padding(run.marks),
        plugins: run.marks.length > 0 ? [marksPlugin(run.marks)] : [],
      },
      columns: [overTime.at_s, ...columns],
      unit: "per second",
    };
  };

  const growthPlot = (growth) => {
    const joined = uPlot.join(growth.series.map((series) =>
      // A logarithmic axis has no zero.
      joinable(series.stored.map((stored) => Math.max(1, stored)), series.values)));
    const values = numbers(joined.slice(1));
    const unit = growth.is_latency ? latencyUnit(Math.max(...values)) : { name: "per second", us: 1 };
    const columns = joined.slice(1).map((column) => column.map((value) => (value == null ? value : value / unit.us)));
    // One colour per engine, whose p99 is dashed.
    const engine = (series) => series.label.replace(/ p\d+$/, "");
    const engines = [...new Set(growth.series.map(engine))];
    const engineOf = (series) => engines.indexOf(engine(series));
    const what = growth.is_latency ? `${growth.of} latency, ${unit.name}` : `${growth.of.replace(/_per_s$/, "")}, per second`;
    return {
      options: {
        scales: {
          x: { time: false, distr: 3, log: 10 },
          y: growth.is_latency ? yScale(numbers(columns)) : { range: (_, _min, max) => [0, max > 0 ? max * 1.08 : 1] },
        },
        axes: [
          axis(`${growth.over} (logarithmic)`, {
            values: (_, splits) => splits.map((value) => (value == null ? "" : short(value))),
          }),
          yAxis(what),
        ],
        series: [
          { label: growth.over, value: (_, size) => number(size) },
          ...growth.series.map((series) => line(series.label, engineOf(series), {
            spanGaps: true,
            points: { show: true, size: 6 },
            dash: series.label.endsWith(" p99") ? [6, 4] : undefined,
          })),
        ],
      },
      columns: [joined[0], ...columns],
      unit: unit.name,
    };
  };
  // Of several runs at one volume the last is shown: uPlot wants every x once, ascending.
  const joinable = (stored, values) => {
    const byStored = new Map(stored.map((at, index) => [at, values[index]]));
    const xs = [...byStored.keys()].sort((one, other) => one - other);
    return [xs, xs.map((at) => byStored.get(at))];
  };

  const kinds = {
    curves: ({ run }) => curvesPlot(data.runs[run].curves.map((curve) => ({ label: curve.latency, us: curve.us }))),
    compare: ({ runs, latency }) => curvesPlot(runs.split(" ").flatMap((run) => {
      const { label, curves } = data.runs[run];
      return curves.filter((curve) => curve.latency === latency).map((curve) => ({ label, us: curve.us }));
    })),
    "over-time": ({ run, latency }) => latencyOverTimePlot(data.runs[run], latency),
    rates: ({ run }) => ratesPlot(data.runs[run]),
    growth: ({ growth }) => growthPlot(data.growths[growth]),
  };

  // ---- Drawing.

  const plots = new Map();
  const HEIGHT = 300;
  const HEIGHT_PHONE = 230;
  const size = (place) => ({ width: place.clientWidth, height: place.clientWidth < 480 ? HEIGHT_PHONE : HEIGHT });

  const draw = (figure) => {
    plots.get(figure)?.destroy();
    plots.delete(figure);
    const made = kinds[figure.dataset.plot](figure.dataset);
    if (!made) {
      figure.hidden = true;
      return;
    }
    let place = figure.querySelector(".canvas");
    if (!place) {
      place = document.createElement("div");
      place.className = "canvas";
      place.tabIndex = 0;
      place.setAttribute("role", "img");
      place.setAttribute("aria-label", `${figure.querySelector("figcaption").textContent}. Arrow keys read values; tables have the numbers.`);
      place.addEventListener("keydown", (event) => moveCursor(figure, event));
      figure.append(place);
    }
    const options = { ...size(place), padding: padding([]), ...made.options, cursor: { drag: { x: false, y: false } }, legend: { live: true } };
    plots.set(figure, new uPlot(options, made.columns, place));
    const shown = numbers(made.columns.slice(1));
    figure.dataset.drawn = "true";
    figure.dataset.series = made.columns.length - 1;
    figure.dataset.points = made.columns[0].length;
    figure.dataset.yMax = Math.max(...shown);
    figure.dataset.yUnit = made.unit;
  };

  // Arrow keys move the cursor from value to value, as a pointer does.
  const moveCursor = (figure, event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const plot = plots.get(figure);
    if (!step || !plot) return;
    event.preventDefault();
    const last = plot.data[0].length - 1;
    // Away from the plot its place is negative, and its index means nothing.
    const isOff = !(plot.cursor.left >= 0);
    const from = isOff ? (step > 0 ? -1 : last + 1) : plot.cursor.idx;
    const index = Math.min(last, Math.max(0, from + step));
    plot.setCursor({ left: plot.valToPos(plot.data[0][index], "x"), top: 10 });
  };

  const isVisible = (figure) => !figure.closest("details:not([open])");
  const figures = [...document.querySelectorAll("figure[data-plot]")];
  const drawVisible = () => {
    for (const figure of figures.filter(isVisible)) draw(figure);
    root.dataset.plots = plots.size;
    measure();
  };
  // Whether the page is wider than its window; tests look.
  const measure = () => {
    root.dataset.scrollWidth = root.scrollWidth;
    root.dataset.windowWidth = root.clientWidth;
  };

  // ---- Theme: as the system, or as somebody chose.

  const THEMES = { "": "as the system", light: "light", dark: "dark" };
  const button = document.getElementById("theme");
  const setTheme = (theme) => {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    button.textContent = `Theme: ${THEMES[theme]}`;
  };
  // A file may be denied storage; then the choice lasts as long as the page.
  const remembered = () => {
    try { return localStorage.getItem("theme") ?? ""; } catch { return ""; }
  };
  button.addEventListener("click", () => {
    const themes = Object.keys(THEMES);
    const theme = themes[(themes.indexOf(root.dataset.theme ?? "") + 1) % themes.length];
    setTheme(theme);
    try { localStorage.setItem("theme", theme); } catch { /* as above */ }
    drawVisible();
  });
  button.hidden = false;
  setTheme(remembered() in THEMES ? remembered() : "");

  drawVisible();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawVisible);
  for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", drawVisible);
  let width = root.clientWidth;
  window.addEventListener("resize", () => {
    if (root.clientWidth === width) return;
    width = root.clientWidth;
    for (const [figure, plot] of plots) plot.setSize(size(figure.querySelector(".canvas")));
    measure();
  });
})();
