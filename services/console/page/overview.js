// Overview: what needs a look, and charts of what the system does.

import { get, repeatedly } from "./asking.js";
import { Chart } from "./charts.js";
import { $, h, say } from "./dom.js";
import { onLook } from "./live.js";
import { clear, fill, mark, moment, plural, span, yes } from "./parts.js";
import { address } from "./route.js";

const WEEK = 7 * 24 * 3600;

const CHARTS = [
  { id: "chart-messages", title: "Messages", note: "what became of those that services took", unit: "rate", wide: true, series: [
    ["messages.accepted", "accepted", "green"], ["messages.refused", "refused", "red"], ["messages.retried", "retried", "amber", true]] },
  { id: "chart-traffic", title: "Traffic", note: "HTTP requests, and messages published for them", unit: "rate", wide: true, series: [
    ["http.requests", "requests", "blue"], ["published", "published", "green", true]] },
  ...[
    ["http", "HTTP answers", "from request to answer"],
    ["verify", "Verifying", "all checks on a message"],
    ["wait", "Waiting", "in a queue, until taken"],
    ["handle", "Handling", "by a service, once verified"],
  ].map(([name, title, note]) => ({
    id: `chart-${name}`, title, note, unit: "time",
    series: [[`${name}.p50`, "p50", "green"], [`${name}.p99`, "p99", "amber", true]],
  })),
  { id: "chart-dead", title: "Dead letters", note: "refused, in all queues", unit: "count", series: [["dead.letters", "now", "red"]] },
  { id: "chart-work", title: "Work waiting", note: "in all work queues", unit: "count", series: [["work.ready", "now", "blue"]] },
  { id: "chart-silence", title: "Trust silence", note: "the longest of any service", unit: "seconds", series: [["trust.silence", "now", "amber"]] },
  { id: "chart-lag", title: "Loop lag", note: "the worst of any process", unit: "time", series: [["loop.lag", "now", "blue"]] },
];

let charts = [];
let points = [];
let dead = null;
let stop = null;
let paused = false;

export function setUp() {
  charts = CHARTS.map((each) => {
    const chart = new Chart(each);
    chart.element.classList.toggle("wide", each.wide ?? false);
    return chart;
  });
  $("charts").append(...charts.map((chart) => chart.element));
  $("range").addEventListener("change", draw);
  $("range").addEventListener("submit", (event) => event.preventDefault());
  $("pause").addEventListener("click", () => {
    paused = !paused;
    $("pause").textContent = paused ? "Go on" : "Pause";
    say(paused ? "The charts stand still." : "The charts go on.");
    showState(null);
    draw();
  });
  onLook((all, problem) => {
    showState(problem);
    if (paused) return;
    points = all;
    const before = dead;
    dead = all.at(-1)?.series["dead.letters"] ?? null;
    if ($("overview").hidden) return;
    draw();
    if (dead !== before) look();
  });
}

export function open() {
  draw();
  stop ??= repeatedly(4, look);
}

export function leave() {
  stop?.();
  stop = null;
}

/** The session is over: nothing of it stays. */
export function close() {
  leave();
  points = [];
  dead = null;
  draw();
  clear($("glance"));
}

const look = () => fill($("glance"), glance, { quiet: $("glance").hasChildNodes() });

function draw() {
  const over = Number($("range").elements.namedItem("range").value);
  for (const chart of charts) chart.show(points, over);
}

function showState(problem) {
  $("live").dataset.state = problem || paused ? "waiting" : "live";
  $("live-text").textContent = problem ? problem.message : paused ? "paused" : "live";
}

async function glance() {
  const standing = await get("standing");
  const concerns = needing(standing);
  return [
    h("section", { class: "card verdict", "data-kind": concerns.length === 0 ? "good" : "warn", "aria-labelledby": "verdict-title" },
      h("h2", { id: "verdict-title" }, concerns.length === 0 ? "All is well" : `${plural(concerns.length, "thing needs", "things need")} a look`),
      concerns.length === 0
        ? h("p", { class: "note" }, `All of ${plural(standing.parties.length, "service")} are ready, and trust what the issuer says now.`)
        : h("ul", {}, concerns.map(([text, to], at) => h("li", {}, h("a", { href: to, id: `concern-${at}` }, text))))),
    h("ul", { class: "parties", "aria-label": "Services" }, standing.parties.map(party)),
  ];
}

/** What an operator should look at, and where. */
function needing({ parties, feed, key_set: keySet }) {
  const found = [];
  for (const each of parties) {
    if (!each.up) found.push([`${each.name} does not answer`, address("feed")]);
    else if (!each.ready) found.push([`${each.name} is not ready`, address("feed")]);
    else if (each.fresh === false) found.push([`${each.name} has not heard the trust feed for ${span(each.silence)}`, address("feed")]);
  }
  if (!feed.fresh) found.push([`The console has not heard the trust feed for ${span(feed.silence)}`, address("feed")]);
  if (keySet.expires_at - Date.now() / 1000 < WEEK) found.push([`The key set statement ends in ${span(keySet.expires_at - Date.now() / 1000)}`, address("keys")]);
  if (dead > 0) found.push([`${plural(Math.round(dead), "refused message")} ${dead === 1 ? "lies" : "lie"} aside`, address("refused")]);
  return found;
}

const party = (each) => h("li", { class: "card party", "data-up": String(each.up && each.ready) },
  h("h3", {}, each.name),
  h("p", {}, each.up ? yes(each.ready, "ready", "not ready") : mark("bad", "away")),
  ...told(each).map((line) => h("p", { class: "note" }, line)));

function told(each) {
  if (each.error) return [each.error];
  return [
    `release ${each.release ?? "unknown"}`,
    each.revocations === null ? null : `${plural(each.revocations, "revocation")} known`,
    each.key_set_expires_at === null ? null : ["keys until ", moment(each.key_set_expires_at, { clock: false })],
  ].filter(Boolean);
}
