// Trust feed: whether everybody hears what the issuer says of revocations, and knows the same.

import { get, repeatedly } from "./asking.js";
import { $, h } from "./dom.js";
import { clear, fill, mark, number, span, table, yes } from "./parts.js";

let stop = null;

export function setUp() {}

export function open() {
  stop ??= repeatedly(2, () => fill($("feed-now"), show, { quiet: $("feed-now").hasChildNodes() }));
}

export function leave() {
  stop?.();
  stop = null;
}

/** The session is over: nothing of it stays. */
export function close() {
  leave();
  clear($("feed-now"));
}

async function show() {
  const { feed, parties } = await get("standing");
  const silent = parties.filter((each) => each.fresh === false);
  const away = parties.filter((each) => !each.up);
  const heard = feed.fresh && silent.length === 0;
  const good = heard && away.length === 0;
  return [
    h("section", { class: "card verdict", "data-kind": good ? "good" : "warn", "aria-labelledby": "feed-verdict" },
      h("h2", { id: "feed-verdict" }, good ? "Everybody hears the issuer"
        : heard ? "Who is there hears the issuer" : "Somebody does not hear the issuer"),
      h("p", { class: "note" }, heard
        ? "A revocation is known everywhere within a moment."
        : "Who has heard nothing for too long refuses nobody and judges nobody: commands wait, and calls are answered with 503. Look at the broker, and at the user service."),
      h("dl", { class: "figures" },
        figure("Silence here", span(feed.silence)),
        figure("Revocations known here", number(feed.revocations)),
        figure("Services that hear it", `${parties.filter((each) => each.fresh).length} of ${parties.filter((each) => each.fresh !== null || !each.up).length}`))),
    h("div", { class: "card" }, table("The trust feed at each service", [
      ["Service", (each) => each.name, "main"],
      ["Hears it", (each) => (each.up ? yes(each.fresh, "fresh", "silent") : mark("bad", "away"))],
      ["Silence", (each) => span(each.silence), "number"],
      ["Revocations known", (each) => number(each.revocations), "number"],
      ["Ready", (each) => (each.up ? yes(each.ready) : "–")],
      ["Its checks", checks],
    ], parties)),
  ];
}

const figure = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

function checks(each) {
  if (each.error) return h("span", { class: "long" }, each.error);
  const failing = Object.entries(each.checks ?? {}).filter(([, good]) => !good).map(([name]) => name);
  return failing.length === 0 ? "all hold" : mark("bad", failing.join(", "));
}
