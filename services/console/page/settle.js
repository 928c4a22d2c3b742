// What an operator does to refused messages: have them taken after all, or away; and what became of each.

import { post } from "./asking.js";
import { confirmed } from "./confirm.js";
import { $, h, say } from "./dom.js";
import { mark, number, plural } from "./parts.js";

/** Release letters of a queue; whether that was done. */
export function release(queue, letters) {
  const lift = h("input", { type: "checkbox", id: "lift" });
  return settle(letters, "released", {
    title: `Release ${plural(letters.length, "message")}?`,
    what: [
      "Each is taken as its user sent it, under the scope that its carnet had, whatever its age. It has its effect once, however often it is released.",
      "The issuer verifies carnet and seal again: what was never genuine stays here. So does what a user sent whose session or access was ended since, unless you say:",
      h("p", { class: "check" }, lift, h("label", { for: "lift" }, "Also lift revocation"), h("small", {}, "Its user’s access was ended; it is taken all the same.")),
      "Your name is written into the audit log.",
    ],
    verb: `Release ${plural(letters.length, "message")}`,
    work: () => post("letters/release", { queue, letters: letters.map((each) => each.digest), lift_revocation: lift.checked }),
  });
}

/** Discard letters of a queue; whether that was done. */
export function discard(queue, letters) {
  return settle(letters, "discarded", {
    title: `Discard ${plural(letters.length, "message")}?`,
    what: [
      "What is discarded is gone, and cannot be had back. Export it before, if you may want it: carnet dead-letters export.",
      "A genuine one is never handled, should it come again, and its user is told of its end. Your name is written into the audit log.",
    ],
    verb: `Discard ${plural(letters.length, "message")}`,
    danger: true,
    work: () => post("letters/discard", { queue, letters: letters.map((each) => each.digest) }),
  });
}

/** The outcome is of no interest any more. */
export function forget() {
  $("outcome").hidden = true;
  $("outcome-list").replaceChildren();
}

export function setUp() {
  $("outcome-close").addEventListener("click", () => {
    forget();
    $("title-refused").focus();
  });
}

async function settle(letters, done, dialog) {
  forget();
  const told = await confirmed(dialog);
  if (told === null) return false;
  const stay = Object.values(told.stay).reduce((sum, each) => sum + each, 0);
  const text = [
    `${number(told.done)} ${done}`,
    ...Object.entries(told.stay).map(([code, count]) => `${number(count)} ${count === 1 ? "stays" : "stay"}: ${code}`),
  ].join(", ");
  $("outcome-title").textContent = text;
  $("outcome").dataset.kind = stay === 0 ? "good" : "warn";
  $("outcome-list").replaceChildren(...letters.map((each) => line(each, told, stay, done)));
  $("outcome").hidden = false;
  $("outcome-title").focus({ preventScroll: true });
  $("outcome").scrollIntoView({ block: "nearest" });
  say(`${text}.`);
  return true;
}

/** What became of one: the first refusals are told by name, and how many there are in all. */
function line(letter, { refusals }, stay, done) {
  const names = [letter.id, `sha256:${letter.digest.slice(0, 16)}`]; // one that is gone is told by its digest
  const refusal = refusals.find((each) => names.includes(each.id));
  const became = refusal ? mark("bad", "stays")
    : refusals.length === stay ? mark("good", done)
    : mark("plain", `${done}, or stays`);
  return h("li", {}, became, h("code", {}, letter.id), refusal ? h("span", {}, refusal.why) : null);
}
