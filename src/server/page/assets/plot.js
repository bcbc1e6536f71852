const SVG = "http://www.w3.org/2000/svg";
const SAMPLES = 60;

/** A small line of the last minute, a sample a second. */
export class Plot {
  #samples = [];
  #line = document.createElementNS(SVG, "polyline");

  constructor() {
    this.element = document.createElementNS(SVG, "svg");
    for (const [key, value] of Object.entries({ viewBox: `0 0 ${SAMPLES} 30`, preserveAspectRatio: "none", "aria-hidden": "true" })) this.element.setAttribute(key, value);
    for (const [key, value] of Object.entries({ fill: "none", stroke: "currentColor", "vector-effect": "non-scaling-stroke" })) this.#line.setAttribute(key, value);
    this.element.append(this.#line);
  }
  add(sample) {
    this.#samples.push(sample);
    if (this.#samples.length > SAMPLES) this.#samples.shift();
    const top = Math.max(...this.#samples, 1);
    const start = SAMPLES - this.#samples.length;
    this.#line.setAttribute("points", this.#samples.map((value, index) => `${start + index},${(29 - (value / top) * 28).toFixed(1)}`).join(" "));
  }
}
