// One message on its way: a card with its stages, which fill as word of them comes in.

import { duration, h, say } from "./dom.js";
import { opener } from "./tokens.js";

const STAGES = [
  ["gateway", "Gateway"],
  ["queue", "Queue"],
  ["checks", "Checks"],
  ["stored", "Stored"],
  ["event", "Event"],
];

export class Journey {
  /** title: what it is. names: of stages that differ from the usual ones. trace: the one that it begins, or null. */
  constructor(title, names = {}, trace = null) {
    this.trace = trace;
    this.began = performance.now();
    this.orderId = null;
    this.stages = new Map(
      STAGES.map(([key, label]) => {
        const told = h("span", { class: "told" });
        const element = h("li", { "data-state": "ahead" }, h("b", {}, names[key] ?? label), told);
        return [key, { element, told }];
      }),
    );
    this.stamp = h("span", { class: "stamp", "data-kind": "way" }, "on its way");
    this.title = h("h3", {}, title);
    this.why = h("p", { class: "why", hidden: true });
    this.checks = h("div", { class: "checks" });
    this.actions = h("p", { class: "actions" });
    this.element = h(
      "li",
      {},
      h(
        "article",
        { class: "card journey" },
        h("div", { class: "heading" }, this.title, this.stamp),
        h("ol", { class: "rail" }, ...[...this.stages.values()].map((stage) => stage.element)),
        this.why,
        this.checks,
        this.actions,
        trace?.told ? traceLine(trace.id) : null,
      ),
    );
  }

  /** How long ago it was sent, in milliseconds. */
  get age() {
    return performance.now() - this.began;
  }

  /** A stage is reached, or it is where the message was stopped. */
  reach(key, told, state = "passed") {
    const stage = this.stages.get(key);
    stage.element.dataset.state = state;
    stage.told.textContent = told;
  }

  /** What became of it, for good. */
  conclude(kind, text, why = "") {
    this.stamp.dataset.kind = kind;
    this.stamp.textContent = text;
    this.why.hidden = why === "";
    this.why.textContent = why;
  }

  /** The order service's report: queue, checks and store, and the message's tokens. */
  report(told) {
    this.reach("queue", `${duration(Math.max(0, told.arrived_ms - told.published_ms))} in ${told.queue}`);
    const refusing = told.checks.find((check) => check.verdict === "refused");
    const spent = told.checks.reduce((sum, check) => sum + (check.microseconds ?? 0), 0) / 1000;
    const passed = told.checks.filter((check) => check.verdict === "passed").length;
    if (refusing) {
      this.reach("checks", `stopped at no. ${refusing.number}: ${refusing.check}`, "refused");
      this.reach("stored", "nothing", "never");
    } else {
      this.reach("checks", `${passed} passed, ${duration(spent)}`);
      const handled = `${duration(Math.max(0, told.settled_ms - told.arrived_ms))} from arrival`;
      if (told.outcome === "done") this.reach("stored", `committed ${handled}`);
      if (told.outcome === "refused") this.reach("stored", `refused: ${told.code}`, "refused");
      if (told.outcome === "retried") this.reach("stored", "will be tried again", "ahead");
    }
    this.showChecks(told);
    this.actions.prepend(...openers(told));
  }

  showChecks(told) {
    const longest = Math.max(1, ...told.checks.map((check) => check.microseconds ?? 0));
    this.checks.replaceChildren(
      h(
        "details",
        { open: true },
        h("summary", {}, "The thirteen checks"),
        h("ol", { class: "check-list" }, told.checks.map((check, at) => line(check, at, longest, told))),
      ),
    );
  }

  /** Fold the checks away: another message is of more interest now. */
  fold() {
    const details = this.checks.querySelector("details");
    if (details) details.open = false;
  }
}

/** The id of its trace, to be copied; selected, where the browser gives pages no clipboard (without https). */
function traceLine(id) {
  const shown = h("code", {}, id);
  const copy = async ({ currentTarget: button }) => {
    try {
      await navigator.clipboard.writeText(id);
      button.dataset.done = "true";
      say("The trace id is copied.");
    } catch {
      getSelection().selectAllChildren(shown);
      say("The trace id is selected.");
    }
  };
  const button = h("button", { type: "button", class: "quiet", "aria-label": "Copy the trace id", on: { click: copy } }, "Copy");
  return h("p", { class: "trace" }, h("span", {}, "Trace ", shown), button);
}

export function openers(told) {
  return [
    told.carnet && opener("Open the carnet", "The carnet of this message", told.carnet),
    told.seal && opener("Open the seal", "The seal of this message", told.seal),
  ].filter(Boolean);
}

const MARKS = { passed: "✓", refused: "✗", "not reached": "·" };

function line(check, at, longest, told) {
  const inTransaction = check.check === "inbox" && check.verdict === "passed";
  const time = check.microseconds !== null ? duration(check.microseconds / 1000) : inTransaction ? "stored" : "";
  const bar = h("span", { class: check.microseconds === null ? "bar none" : "bar", "aria-hidden": "true" });
  bar.style.setProperty("--share", String((check.microseconds ?? 0) / longest));
  const element = h(
    "li",
    { "data-verdict": check.verdict },
    h("span", { class: "mark", "aria-hidden": "true" }, MARKS[check.verdict]),
    h("span", { class: "question" }, capital(check.question), h("span", { class: "sr" }, ` ${check.verdict}`)),
    bar,
    h("span", { class: "time" }, time),
    check.verdict === "refused" ? h("span", { class: "reason" }, h("code", {}, told.code), ` ${told.detail}`) : null,
  );
  element.style.setProperty("--at", String(at));
  return element;
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
