// Charts of what changes: lines over time, as SVG; described in words, and as a table where one asks.

import { duration, h, openReader } from "./dom.js";
import { moment, number, table } from "./parts.js";

const HEIGHT = 132;
const LEFT = 46;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 20;
const STEPS = [1, 2, 4, 6, 8, 10];

/** A unit: how a value is written, and what the scale reaches at least. */
export const UNITS = {
  rate: { write: (value) => `${rounded(value)} /s`, least: 1 },
  time: { write: (value) => (value === 0 ? "0" : duration(value)), least: 1 },
  seconds: { write: (value) => (value === 0 ? "0" : duration(value * 1000)), least: 1 },
  count: { write: (value) => number(Math.round(value)), least: 4 },
};

const rounded = (value) => number(value >= 10 || value === 0 ? Math.round(value) : Number(value.toFixed(value >= 1 ? 1 : 2)));

export class Chart {
  /** series: [name, label, tone, dashed?]; the first one's ground is filled where it is alone. */
  constructor({ id, title, note, unit, series }) {
    this.title = title;
    this.unit = UNITS[unit];
    this.series = series.map(([name, label, tone, dashed = false]) => ({
      name, label, dashed, tone, value: h("b", {}, "–"),
    }));
    this.when = h("li", { class: "when" });
    this.said = h("p", { class: "sr", id: `${id}-said` });
    this.drawing = make("svg", { role: "img", "aria-labelledby": `${id}-title`, "aria-describedby": `${id}-said`, height: HEIGHT });
    this.element = h(
      "section",
      { class: "card chart", id, "aria-labelledby": `${id}-title` },
      h("div", { class: "heading" },
        h("h3", { id: `${id}-title` }, title),
        h("button", { type: "button", class: "quiet small", "aria-label": `Table: ${title}`, on: { click: () => this.read() } }, "Table")),
      h("p", { class: "note" }, note),
      h("ul", { class: "legend" }, this.series.map((each) =>
        h("li", { "data-tone": each.tone, "data-dashed": String(each.dashed) }, each.label, " ", each.value)), this.when),
      this.drawing,
      this.said,
    );
    this.shown = { points: [], end: 0, over: 0 };
    this.pointed = null;
    this.drawing.addEventListener("pointermove", (event) => this.point(event));
    this.drawing.addEventListener("pointerleave", () => this.point(null));
    new ResizeObserver(() => this.draw()).observe(this.drawing);
  }

  /** Show the points of the last `over` seconds. */
  show(points, over) {
    const end = points.at(-1)?.at ?? Date.now() / 1000;
    this.shown = { points: points.filter((point) => point.at >= end - over), end, over };
    this.draw();
  }

  draw() {
    const width = this.drawing.clientWidth;
    if (width === 0 || this.shown.over === 0) return;
    const { points, end, over } = this.shown;
    const values = points.flatMap((point) => this.series.map(({ name }) => point.series[name] ?? 0));
    const most = above(Math.max(this.unit.least, ...values));
    const x = (at) => LEFT + (1 - (end - at) / over) * (width - LEFT - RIGHT);
    const y = (value) => TOP + (1 - value / most) * (HEIGHT - TOP - BOTTOM);
    this.x = x;
    this.drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.drawing.replaceChildren(
      ...[0, 0.5, 1].flatMap((part) => this.level(part * most, y(part * most), width)),
      ...this.ends(width, over),
      ...this.series.flatMap((each) => this.lines(each, points, x, y)),
      ...this.cursor(x, y),
    );
    this.tell();
  }

  level(value, at, width) {
    return [
      make("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: at, y2: at }),
      make("text", { x: LEFT - 6, y: at + 4, "text-anchor": "end" }, this.unit.write(value)),
    ];
  }

  ends(width, over) {
    return [
      make("text", { x: LEFT, y: HEIGHT - 4 }, `${Math.round(over / 60)} min ago`),
      make("text", { x: width - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, "now"),
    ];
  }

  lines({ name, tone, dashed }, points, x, y) {
    const runs = [];
    let run = null;
    for (const point of points) {
      const value = point.series[name] ?? null;
      if (value === null) run = null;
      else {
        if (run === null) runs.push((run = []));
        run.push([x(point.at), y(value)]);
      }
    }
    const line = runs.filter((each) => each.length > 1).map((each) => `M${each.map(spot).join("L")}`).join("");
    const alone = runs.filter((each) => each.length === 1).map(([[cx, cy]]) => make("circle", { cx, cy, r: 2.2, "data-tone": tone }));
    const drawn = [make("path", { class: "line-of", d: line, "data-tone": tone, "data-dashed": String(dashed) }), ...alone];
    if (this.series.length === 1) {
      const ground = runs.map((each) => `M${each[0][0].toFixed(1)},${y(0)}L${each.map(spot).join("L")}V${y(0)}Z`).join("");
      drawn.unshift(make("path", { class: "ground", d: ground, "data-tone": tone }));
    }
    return drawn;
  }

  cursor(x, y) {
    const point = this.at();
    if (this.pointed === null || !point) return [];
    const dots = this.series.filter(({ name }) => (point.series[name] ?? null) !== null)
      .map(({ name, tone }) => make("circle", { cx: x(point.at), cy: y(point.series[name]), r: 3.5, "data-tone": tone }));
    return [make("line", { class: "cursor", x1: x(point.at), x2: x(point.at), y1: TOP, y2: HEIGHT - BOTTOM }), ...dots];
  }

  /** The point that is pointed at, or else the last. */
  at() {
    const { points } = this.shown;
    if (this.pointed === null) return points.at(-1);
    const away = (point) => Math.abs(this.x(point.at) - this.pointed);
    return points.reduce((best, point) => (!best || away(point) < away(best) ? point : best), null);
  }

  point(event) {
    this.pointed = event === null ? null : event.clientX - this.drawing.getBoundingClientRect().left;
    this.draw();
  }

  written(point, name) {
    const value = point?.series[name] ?? null;
    return value === null ? "–" : this.unit.write(value);
  }

  tell() {
    const point = this.at();
    for (const { name, value } of this.series) value.textContent = this.written(point, name);
    this.when.replaceChildren(...(this.pointed === null || !point ? [] : [moment(point.at)]));
    const { points, over } = this.shown;
    this.said.textContent = this.series.map(({ name, label }) => {
      const values = points.map((each) => each.series[name] ?? null).filter((value) => value !== null);
      if (values.length === 0) return `${label}: nothing in the last ${Math.round(over / 60)} minutes.`;
      const [low, high] = [Math.min(...values), Math.max(...values)].map(this.unit.write);
      return `${label}: ${this.written(points.at(-1), name)} now, between ${low} and ${high} in the last ${Math.round(over / 60)} minutes.`;
    }).join(" ");
  }

  /** All that is drawn, as a table, the latest first. */
  read() {
    const columns = this.series.map(({ name, label }) => [label, (point) => this.written(point, name), "number"]);
    openReader(this.title, table(this.title, [["At", (point) => moment(point.at), "main"], ...columns],
      this.shown.points.toReversed(), { empty: "There is nothing yet." }));
  }
}

/** The next even number from which a scale can be made. */
function above(value) {
  const size = 10 ** Math.floor(Math.log10(value));
  return STEPS.find((step) => step * size >= value) * size;
}

const spot = ([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`;

function make(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
