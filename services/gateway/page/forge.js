// The playground: a message of one's own, tampered with, and where that was stopped.

import { $, duration, h, say, submitting } from "./dom.js";
import { Journey, openers } from "./journeys.js";
import { call, endingBy } from "./session.js";
import { beginTrace } from "./trace.js";

const ORDER = { lines: [{ sku: "tea-earl-grey", quantity: 1, unit_price: "4.20" }], currency: "EUR" };
const KEPT = 12;

const FORGERIES = [
  ["body", "Change the body", "Order a thousand instead of one, under the seal of the one.",
    "The seal holds the hash of the body that was sealed (bh). Another body has another hash."],
  ["moved", "Move the token", "Take carnet and seal to another message: a cancellation.",
    "The seal names the one route and type that it was made for (ex, rk, ty). On another message it is worth nothing."],
  ["audience", "Wrong audience", "Use a genuine carnet of yours that was made out to another service.",
    "A carnet has one receiver (aud). Everybody else refuses it, however genuine it is."],
  ["expired", "Let it expire", "Hand it over ten minutes after it was wanted last.",
    "The seal says until when the work is wanted (exp). Whoever keeps a message back gains nothing."],
  ["revoked", "Revoke yourself", "Seal it, end your session, and only then let it arrive. This signs you out.",
    "No token was expired, no signature wrong. But the issuer has told everybody that this session is over, and who verifies looks that up in memory."],
  ["key", "Sign it yourself", "Seal it with a fresh key of your own, in the gateway’s name.",
    "Only keys that the trust root has listed for the gateway count for it. Yours is not among them."],
  ["none", "Leave it alone", "Do nothing to it, for comparison.",
    "Not a byte was changed, so it was taken: it is among your orders."],
];

export function setUp() {
  $("forgeries").append(...FORGERIES.map(choice));
  $("forgeries").addEventListener("change", showBody);
  $("body").value = JSON.stringify({ ...ORDER, lines: [{ ...ORDER.lines[0], quantity: 1000 }] });
  $("forge").addEventListener("submit", (event) => {
    event.preventDefault();
    submitting($("forge"), "forge-problem", () => (chosen() === "revoked" ? endingBy(send, "revoked") : send()));
  });
  showBody();
}

/** The session is over: nothing of it stays. */
export function close() {
  $("forged").replaceChildren();
  $("no-forged").hidden = false;
}

function choice([value, title, hope], at) {
  const id = `forgery-${value}`;
  return h(
    "div",
    { class: "choice" },
    h("input", { type: "radio", name: "forgery", id, value, checked: at === 0, "aria-describedby": `${id}-hope` }),
    h("label", { for: id }, title),
    h("small", { id: `${id}-hope` }, hope),
  );
}

const chosen = () => $("forge").elements.namedItem("forgery").value;

function showBody() {
  $("body-field").hidden = chosen() !== "body";
}

async function send() {
  const [value, title, , why] = FORGERIES.find(([known]) => known === chosen());
  const began = performance.now();
  const json = { forgery: value, order: ORDER, ...(value === "body" ? { body: $("body").value } : {}) };
  const trace = beginTrace();
  const { data } = await call("/v1/playground/forgeries", { json, headers: trace?.headers });
  const journey = new Journey(title, value === "none" ? {} : { gateway: "Tampered" }, trace);
  journey.reach("gateway", `and sent, ${duration(performance.now() - began)} in all`);
  journey.reach("event", "none", "never");
  tell(journey, data, why);
  for (const details of $("forged").querySelectorAll("details")) details.open = false;
  $("no-forged").hidden = true;
  $("forged").prepend(journey.element);
  journey.element.scrollIntoView({ block: "nearest" });
  while ($("forged").children.length > KEPT) $("forged").lastElementChild.remove();
  say(`${title}: ${journey.stamp.textContent}.`);
}

function tell(journey, tried, why) {
  if (tried.journey !== null) journey.report(tried.journey);
  if (tried.stopped_by === "user-service") {
    journey.reach("gateway", "the issuer gave no such carnet", "refused");
    journey.conclude("refused", tried.code, `The issuer refused: ${tried.detail}. ${why}`);
  } else if (tried.stopped_by !== null) {
    journey.conclude("refused", tried.code, why);
  } else if (tried.journey === null) {
    journey.conclude("way", "no word", "It is on the queue; the order service has not said yet what became of it.");
  } else {
    journey.reach("event", "as for every order");
    journey.conclude("done", "taken", "Not a byte was changed in what counts, so it was taken: it is among your orders.");
  }
  if (tried.sent !== null) {
    journey.actions.append(
      h("details", { class: "sent" }, h("summary", {}, "The body as it was sent"), h("pre", { tabindex: "0" }, tried.sent.body)),
    );
    if (tried.journey === null) journey.actions.prepend(...openers(tried.sent));
  }
}
