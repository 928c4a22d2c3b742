// Refused: messages that lie aside, found by filters, picked, and released or discarded.

import { get } from "./asking.js";
import { $, h } from "./dom.js";
import * as letter from "./letter.js";
import { clear, fill, moment, number, plural, table, who } from "./parts.js";
import { address, note } from "./route.js";
import { may } from "./session.js";
import { discard, forget, release } from "./settle.js";

const PAUSE = 300;
const FIELDS = ["search", "service", "user", "since", "until"];

let queue = null;
let reasons = new Set();
let listed = []; // the letters that are shown
let picked = new Set(); // digests
let timer = 0;

export function setUp() {
  letter.setUp(list);
  const form = $("filter");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    clearTimeout(timer);
    timer = setTimeout(apply, event.target.type === "search" || event.target.type === "text" ? PAUSE : 0);
  });
  $("filter-clear").addEventListener("click", () => {
    form.reset();
    reasons.clear();
    apply();
    $("filter-search").focus();
  });
  $("letters-again").addEventListener("click", list);
  $("release").addEventListener("click", () => act(release));
  $("discard").addEventListener("click", () => act(discard));
}

export function open({ of, query }) {
  $("letters-view").hidden = of !== null;
  $("letter-view").hidden = of === null;
  if (of !== null) {
    forget();
    queue = query.get("queue") ?? queue;
    return letter.open(of, queue, back());
  }
  letter.close();
  for (const name of FIELDS) $(`filter-${name}`).value = field(name, query.get(name) ?? "");
  reasons = new Set(query.getAll("reason"));
  queue = query.get("queue");
  return list();
}

export function leave() {
  clearTimeout(timer);
  letter.close();
  forget();
}

/** The session is over: nothing of it stays. */
export function close() {
  leave();
  picked.clear();
  listed = [];
  queue = null;
  reasons.clear();
  $("filter").reset();
  clear($("letters"));
  clear($("reasons"));
  showPicked();
}

/** The list as it was left, from an open letter. */
const back = () => address("refused", null, filter());

function apply() {
  queue = $("filter-queue").value || queue;
  reasons = new Set([...$("reasons").querySelectorAll("input:checked")].map((box) => box.value));
  note("refused", null, filter());
  list();
}

function filter() {
  const values = Object.fromEntries(FIELDS.map((name) => [name, asked(name, $(`filter-${name}`).value.trim())]));
  return { queue, reason: [...reasons], ...values };
}

/** Fields of time are local in the form, and RFC 3339 when asked. */
const asked = (name, value) => (isTime(name) && value !== "" ? new Date(value).toISOString() : value);

function field(name, value) {
  const date = new Date(value);
  if (!isTime(name) || Number.isNaN(date.getTime())) return isTime(name) ? "" : value;
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

const isTime = (name) => name === "since" || name === "until";

async function list() {
  await fill($("letters"), async () => {
    const told = await get("letters", filter());
    queue = told.queue;
    listed = told.letters;
    picked = new Set(listed.map((each) => each.digest).filter((digest) => picked.has(digest)));
    showQueues(told);
    showReasons(told.reasons);
    suggest();
    return [count(told), lines()];
  });
  showPicked();
}

function showQueues({ queues }) {
  const field = $("filter-queue");
  field.replaceChildren(...queues.map((name) => h("option", { value: name, selected: name === queue }, name)));
}

function showReasons(counts) {
  const names = [...new Set([...Object.keys(counts), ...reasons])].sort((one, other) => (counts[other] ?? 0) - (counts[one] ?? 0));
  const focused = document.activeElement?.id;
  $("reasons-field").hidden = names.length === 0;
  $("reasons").replaceChildren(...names.map((name) => h(
    "span",
    { class: "chip" },
    h("input", { type: "checkbox", id: `reason-${name}`, value: name, checked: reasons.has(name) }),
    h("label", { for: `reason-${name}` }, name, " ", h("b", {}, number(counts[name] ?? 0))),
  )));
  if (focused?.startsWith("reason-")) $(focused)?.focus();
}

/** Services and users that may be meant: those of the letters at hand. */
function suggest() {
  for (const name of ["service", "user"]) {
    const known = [...new Set(listed.map((each) => each[name]).filter(Boolean))].sort();
    $(`known-${name}s`).replaceChildren(...known.map((value) => h("option", { value })));
  }
}

function count({ total, complete }) {
  const shown = listed.length < total ? `, the latest ${number(listed.length)} of them here` : "";
  const more = complete ? "" : ". There are more, and not all could be read in time: carnet dead-letters list";
  return h("p", { class: "note", id: "letters-count" }, `${plural(total, "message")}${shown}${more}`);
}

function lines() {
  const columns = [
    ["Reason", (each) => h("span", { class: "code" }, each.reason)],
    ["Message", (each) => h("span", {},
      h("a", { href: address("refused", each.digest, { queue }), id: `open-${each.digest}` }, each.type ?? "of no type"),
      h("small", {}, each.id)), "main"],
    ["User", (each) => who(each.user)],
    ["Sealed by", (each) => each.service ?? "–"],
    ["Refused", (each) => moment(each.failed_at)],
    ["Copies", (each) => number(each.copies), "number"],
  ];
  if (may("dead-letters:release")) columns.unshift([pickAll(), pick, "act"]);
  return table("Refused messages, the latest first", columns, listed, {
    empty: "Nothing lies aside here that fits. That is good news.",
  });
}

function pickAll() {
  return h("input", {
    type: "checkbox", id: "pick-all", "aria-label": "All that are shown",
    on: { change: (event) => {
      picked = new Set(event.target.checked ? listed.map((each) => each.digest) : []);
      for (const box of $("letters").querySelectorAll("tbody input")) box.checked = event.target.checked;
      showPicked();
    } },
  });
}

const pick = (each) => h("input", {
  type: "checkbox", checked: picked.has(each.digest), "aria-label": `Pick ${each.id}`,
  on: { change: (event) => {
    if (event.target.checked) picked.add(each.digest);
    else picked.delete(each.digest);
    showPicked();
  } },
});

function showPicked() {
  $("picked").hidden = picked.size === 0;
  $("picked-count").textContent = `${plural(picked.size, "message")} picked`;
  const all = $("pick-all");
  if (!all) return;
  all.checked = picked.size > 0 && picked.size === listed.length;
  all.indeterminate = picked.size > 0 && picked.size < listed.length;
}

async function act(how) {
  const letters = listed.filter((each) => picked.has(each.digest));
  if (!(await how(queue, letters))) return;
  picked.clear();
  await list();
}
