// What several views are made of: times, tables, stamps, and what is shown while there is nothing yet.

import { h, say } from "./dom.js";
import { signedIn } from "./session.js";

const DAY = { day: "numeric", month: "short" };
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" };

/** A moment (epoch seconds or RFC 3339) in the reader's zone; in UTC as its title. clock: to the second, or its day. */
export function moment(at, { clock = true } = {}) {
  if (at === null || at === undefined) return "–";
  const date = new Date(typeof at === "number" ? at * 1000 : at);
  const year = date.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
  const utc = date.toISOString();
  return h("time", { datetime: utc, title: `${utc.slice(0, 19).replace("T", " ")} UTC` },
    date.toLocaleString(undefined, { ...DAY, ...year, ...(clock ? CLOCK : {}) }));
}

export const number = (value) => (value === null || value === undefined ? "–" : new Intl.NumberFormat().format(value));

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** Seconds in words. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const size = Math.abs(seconds);
  if (size < 10) return `${seconds.toFixed(1)} s`;
  if (size < 120) return `${Math.round(seconds)} s`;
  if (size < 7200) return `${Math.round(seconds / 60)} min`;
  if (size < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** kind: good, bad, warn, or plain. */
export const mark = (kind, text) => h("span", { class: "mark-of", "data-kind": kind }, text);

export const yes = (value, good = "yes", bad = "no") =>
  value === null || value === undefined ? mark("plain", "does not say") : value ? mark("good", good) : mark("bad", bad);

/** A long name, of which the beginning is enough to know it by. */
export const short = (text) => (text ? h("code", { title: text }, text.length > 13 ? `${text.slice(0, 12)}…` : text) : "–");

const IDENTIFIER = /^[\w-]{32,}$/;

/** Who somebody is, or what: a name as it is; a subject, a key, a session by its beginning. */
export const who = (text) => (text && IDENTIFIER.test(text) ? short(text) : h("span", { class: "long" }, text || "–"));

/** A code as words. */
export const words = (code) => code.replaceAll("_", " ");

/**
 * A table, which is a list of cards where there is little room. The roles keep it a table there.
 *
 * columns: [title, of, kind?]; `of` gives a cell's content for a row; kind: number, main, act.
 */
export function table(caption, columns, rows, { empty = "There are none." } = {}) {
  if (rows.length === 0) return h("p", { class: "empty" }, empty);
  return h(
    "table",
    { class: "rows", role: "table" },
    h("caption", { class: "sr" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map(([title, , kind]) =>
      h("th", { scope: "col", role: "columnheader", class: kind }, title === "" ? h("span", { class: "sr" }, "What can be done") : title)))),
    h("tbody", { role: "rowgroup" }, rows.map((row) =>
      h("tr", { role: "row" }, columns.map(([title, of, kind]) =>
        h(kind === "main" ? "th" : "td", {
          role: kind === "main" ? "rowheader" : "cell", scope: kind === "main" ? "row" : null,
          class: kind, "data-label": typeof title === "string" && title !== "" ? title : null,
        }, of(row)))))),
  );
}

/** Names and what they are. */
export const facts = (pairs) =>
  h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value ?? "–"))));

const turns = new WeakMap();

/**
 * Show in `place` what `work` makes; where that fails, say why, with a way to try again.
 *
 * Of two at once the later one is shown. quiet: it was there before, and is only looked at again.
 */
export async function fill(place, work, { quiet = false } = {}) {
  const turn = (turns.get(place) ?? 0) + 1;
  turns.set(place, turn);
  if (!quiet) place.setAttribute("aria-busy", "true");
  let made;
  try {
    made = [await work()].flat();
  } catch (problem) {
    if (!signedIn()) return;
    if (!quiet) say(problem.message);
    made = [trouble(problem, () => fill(place, work))];
  }
  if (turns.get(place) !== turn) return;
  place.removeAttribute("aria-busy");
  if (!quiet || !shows(place, made)) swap(place, made);
}

/** Show other elements in a place; what had the focus there has it still. */
function swap(place, made) {
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  place.replaceChildren(...made);
  if (focused !== "") document.getElementById(focused)?.focus({ preventScroll: true });
}

/** Whether a place shows just that. */
const shows = (place, made) =>
  place.childNodes.length === made.length && made.every((each, at) => place.childNodes[at].isEqualNode(each));

/** A place is empty again. */
export function clear(place) {
  turns.set(place, (turns.get(place) ?? 0) + 1);
  place.removeAttribute("aria-busy");
  place.replaceChildren();
}

export const trouble = (problem, again) => h(
  "div",
  { class: "problem between" },
  h("p", {}, problem.message),
  h("button", { type: "button", class: "quiet", on: { click: again } }, "Try again"),
);
