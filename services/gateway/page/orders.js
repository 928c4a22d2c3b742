// Orders: placed, cancelled, listed, and watched on their way.

import { $, duration, h, say, submitting } from "./dom.js";
import { Journey } from "./journeys.js";
import { call, ended, signedIn } from "./session.js";
import { listen } from "./streams.js";
import { beginTrace } from "./trace.js";

export const CURRENCY = "EUR";
const GOODS = [
  ["tea-earl-grey", "Earl Grey, a packet", "4.20"],
  ["cup-porcelain", "Porcelain cup", "9.50"],
  ["spoon-silver", "Silver spoon", "12.00"],
  ["biscuits", "Biscuits", "2.75"],
  ["grand-piano", "Grand piano (six are too many)", "180000.00"],
];
const KEPT = 12;
const EARLY = 50;
const STREAM_WAIT = 3000;

const journeys = new Map(); // by what we call the message
const early = []; // events that came before the answer that names their order
let stream = null; // the journey stream's name, while it lives
let streamKnown = Promise.withResolvers();
let listening = null;
const seen = { last: "" }; // of the order events
let cursor = null;
let lineCount = 0;
let count = 0; // of messages that were sent

const money = (amount, currency = CURRENCY) =>
  new Intl.NumberFormat(undefined, { style: "currency", currency }).format(amount);

export function setUp() {
  addLine();
  $("add-line").addEventListener("click", () => addLine().querySelector("select").focus());
  $("order").addEventListener("submit", (event) => {
    event.preventDefault();
    submitting($("order"), "order-problem", place);
  });
  $("more-orders").addEventListener("click", () => showOrders(cursor).catch(() => {}));
  // A browser has six connections to one host: those of pages that nobody sees are for the others.
  document.addEventListener("visibilitychange", () => {
    if (!signedIn()) return;
    if (document.hidden) {
      stop();
    } else {
      start();
      refresh();
    }
  });
}

/** Somebody has signed in: listen, and show what there is. */
export function open() {
  start();
  showOrders().catch(() => {});
}

function start() {
  if (listening !== null) return;
  listening = new AbortController();
  const { signal } = listening;
  const states = new Map();
  const state = (of) => (now) => {
    states.set(of, now);
    showLive(states.size === 2 && [...states.values()].every((each) => each === "live"));
  };
  listen("/v1/orders/events", { signal, seen, on: orderEvent, ended, state: state("events") });
  listen("/v1/journeys", {
    signal,
    seen: {},
    on: journeyEvent,
    ended,
    state: (now) => {
      if (now === "waiting") loseStream();
      state("journeys")(now);
    },
  });
}

function stop() {
  listening?.abort();
  listening = null;
  loseStream();
  showLive(false);
}

function showLive(live) {
  $("live").dataset.state = live ? "live" : "waiting";
  $("live-text").textContent = live ? "live" : "connecting";
}

function loseStream() {
  if (stream === null) return;
  stream = null;
  streamKnown = Promise.withResolvers();
}

/** The session is over: nothing of it stays. */
export function close() {
  stop();
  seen.last = "";
  journeys.clear();
  early.length = 0;
  for (const id of ["travels", "orders"]) $(id).replaceChildren();
  $("no-travels").hidden = false;
  $("no-orders").hidden = false;
  $("more-orders").hidden = true;
}

function addLine() {
  const id = (lineCount += 1);
  const select = h("select", { id: `sku-${id}`, name: "sku", on: { change: showTotal } },
    GOODS.map(([sku, label]) => h("option", { value: sku }, label)));
  const quantity = h("input", {
    id: `quantity-${id}`, name: "quantity", type: "number", min: 1, max: 10000, value: 1, required: true, on: { input: showTotal },
  });
  const line = h(
    "div",
    { class: "line", role: "group", "aria-label": `Line ${id}` },
    h("p", { class: "field" }, h("label", { for: `sku-${id}` }, "What"), select),
    h("p", { class: "field few" }, h("label", { for: `quantity-${id}` }, "How many"), quantity),
    h("button", {
      type: "button", class: "quiet remove", "aria-label": `Remove line ${id}`,
      on: { click: () => { line.remove(); showTotal(); $("add-line").focus(); } },
    }, "Remove"),
  );
  $("lines").append(line);
  showTotal();
  return line;
}

function lines() {
  return [...$("lines").children].map((line) => {
    const sku = line.querySelector("select").value;
    const price = GOODS.find(([known]) => known === sku)[2];
    return { sku, quantity: line.querySelector("input").valueAsNumber, unit_price: price };
  });
}

function showTotal() {
  const all = lines();
  const total = all.reduce((sum, line) => sum + (line.quantity || 0) * Number(line.unit_price), 0);
  $("total").textContent = money(total);
  for (const button of $("lines").querySelectorAll(".remove")) button.hidden = all.length < 2;
}

async function place() {
  const order = { lines: lines(), currency: CURRENCY };
  const journey = begin(`Order: ${describe(order.lines)}`);
  const answer = await sent(journey, "/v1/orders", { json: order });
  named(journey, answer.id);
  say("The order is accepted.");
}

async function cancel(orderId, what) {
  const journey = begin(`Cancel: ${what}`, { stored: "Cancelled" });
  try {
    const answer = await sent(journey, `/v1/orders/${orderId}/cancel`, {});
    named(journey, answer.id);
  } catch (problem) {
    say(problem.message);
  }
}

/** Show a new journey, before it begins; and with it, its trace. */
function begin(title, names = {}) {
  const journey = new Journey(title, names, beginTrace());
  journey.kind = names.stored === "Cancelled" ? "cancel" : "place";
  for (const other of journeys.values()) other.fold();
  $("no-travels").hidden = true;
  $("travels").prepend(journey.element);
  journey.element.scrollIntoView({ block: "nearest" });
  while ($("travels").children.length > KEPT) $("travels").lastElementChild.remove();
  return journey;
}

/** Hand it to the gateway, marked as one to be watched if that can be. */
async function sent(journey, path, request) {
  const known = await Promise.race([streamKnown.promise, new Promise((done) => { setTimeout(done, STREAM_WAIT); })]);
  const headers = { ...journey.trace?.headers };
  if (known) {
    const name = String((count += 1));
    journeys.set(name, journey);
    if (journeys.size > KEPT) journeys.delete(journeys.keys().next().value);
    headers["Carnet-Journey"] = `${stream}.${name}`;
  }
  journey.began = performance.now();
  try {
    const { data } = await call(path, { ...request, headers });
    journey.reach("gateway", `202 in ${duration(journey.age)}`);
    return data;
  } catch (problem) {
    journey.reach("gateway", problem.code || "not accepted", "refused");
    journey.conclude("refused", "not accepted", problem.message);
    throw problem;
  }
}

/** The answer has come that says which order it is about: its event may have been faster. */
function named(journey, orderId) {
  journey.orderId = orderId;
  for (const [type, data] of early) tellIfOf(journey, type, data);
}

function journeyEvent(type, data) {
  if (type === "journey") {
    stream = data.stream;
    streamKnown.resolve(true);
  } else if (type === "orders.journey.v1") {
    const journey = journeys.get(data.message);
    if (!journey) return;
    journey.report(data);
    if (data.outcome === "refused") {
      journey.conclude("refused", "refused", `${data.code}: ${data.detail}`);
    }
  }
}

function orderEvent(type, data) {
  early.push([type, data]);
  if (early.length > EARLY) early.shift();
  for (const journey of journeys.values()) tellIfOf(journey, type, data);
  refresh();
}

function tellIfOf(journey, type, data) {
  if (journey.orderId !== data.order_id || journey.told) return;
  const done = { "orders.placed.v1": "place", "orders.cancelled.v1": "cancel" }[type];
  const refused = { "orders.place.v1": "place", "orders.cancel.v1": "cancel" }[data.command];
  if ((done ?? refused) !== journey.kind) return;
  journey.told = true;
  journey.reach("event", `no. ${data.sequence}, ${duration(journey.age)} after the click`);
  if (type === "orders.refused.v1") {
    journey.reach("stored", `refused: ${data.code}`, "refused");
    journey.conclude("refused", "refused", data.detail);
  } else {
    journey.conclude("done", type === "orders.placed.v1" ? "placed" : "cancelled");
    if (type === "orders.placed.v1") offerCancel(journey, data);
  }
  say(`The order was ${journey.stamp.textContent}.`);
}

function offerCancel(journey, placed) {
  const what = describe(placed.lines);
  journey.actions.append(
    h("button", {
      type: "button", class: "second",
      on: { click: (event) => { event.currentTarget.hidden = true; cancel(placed.order_id, what); } },
    }, "Cancel this order"),
  );
}

let refreshing = null;
let stale = false;

/** Show the first page anew, however many events say so meanwhile. */
function refresh() {
  if (refreshing !== null) {
    stale = true;
    return;
  }
  refreshing = showOrders().catch(() => {}).finally(() => {
    refreshing = null;
    if (stale && signedIn()) {
      stale = false;
      refresh();
    }
  });
}

async function showOrders(after = null) {
  const query = new URLSearchParams({ limit: "8", ...(after === null ? {} : { cursor: after }) });
  const { data } = await call(`/v1/orders?${query}`, { method: "GET" });
  if (!signedIn()) return;
  const rows = data.orders.map(row);
  if (after === null) $("orders").replaceChildren(...rows);
  else $("orders").append(...rows);
  cursor = data.next;
  $("more-orders").hidden = cursor === null;
  $("no-orders").hidden = $("orders").children.length > 0;
}

function row(order) {
  const what = describe(order.lines) || order.id.slice(0, 8);
  const cancelling = h("button", {
    type: "button", class: "quiet", "aria-label": `Cancel ${what}`,
    on: { click: (event) => { event.currentTarget.disabled = true; cancel(order.id, what); } },
  }, "Cancel");
  return h(
    "li",
    {},
    h("span", { class: "what" }, what),
    h("span", { class: "sum" }, money(Number(order.total), order.currency ?? CURRENCY)),
    h("span", { class: "state", "data-state": order.state }, order.state),
    h("time", { datetime: order.placed_at }, new Date(order.placed_at).toLocaleTimeString()),
    order.state === "placed" ? cancelling : null,
  );
}

function describe(all) {
  return all.map((line) => `${line.quantity} × ${line.sku}`).join(", ");
}
