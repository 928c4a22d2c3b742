// Queues: how much lies where, and who takes it.

import { get, repeatedly } from "./asking.js";
import { $, h } from "./dom.js";
import { clear, fill, mark, number, table } from "./parts.js";
import { address } from "./route.js";

const KINDS = [
  ["work", "Work", "Commands and events, until a service has handled them."],
  ["retry", "Retry", "What failed, until it is tried again."],
  ["dead", "Refused", "What was refused, until an operator decides."],
  ["rpc", "Requests", "Questions that somebody waits for."],
];

let stop = null;

export function setUp() {}

export function open() {
  stop ??= repeatedly(2, () => fill($("queue-kinds"), show, { quiet: $("queue-kinds").hasChildNodes() }));
}

export function leave() {
  stop?.();
  stop = null;
}

/** The session is over: nothing of it stays. */
export function close() {
  leave();
  clear($("queue-kinds"));
}

async function show() {
  const { queues } = await get("queues");
  return KINDS.map(([kind, title, note]) => {
    const those = queues.filter((each) => each.kind === kind);
    return h("section", { class: "card", "aria-labelledby": `queues-${kind}` },
      h("div", { class: "heading" }, h("h2", { id: `queues-${kind}` }, title), h("p", { class: "note" }, note)),
      table(`${title}: queues`, [
        ["Queue", (each) => name(each), "main"],
        ["Messages", (each) => number(each.messages), "number"],
        ["Consumers", (each) => consumers(each), "number"],
      ], those, { empty: "There are none of this kind." }));
  });
}

/** Refused ones are looked at by the name of the work that they come from. */
function name({ name: queue, kind }) {
  if (kind !== "dead") return h("code", {}, queue);
  return h("a", { href: address("refused", null, { queue: queue.replace(/\.dead$/, "") }), id: `queue-${queue}` }, h("code", {}, queue));
}

function consumers({ kind, consumers: count }) {
  const wanted = kind === "work" || kind === "rpc";
  return wanted && count === 0 ? mark("bad", "nobody") : number(count);
}
