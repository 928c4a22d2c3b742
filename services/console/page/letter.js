// One refused message: what it is, why it was refused, and all that it says, as text.

import { get } from "./asking.js";
import { $, h } from "./dom.js";
import { clear, facts, fill, moment, number } from "./parts.js";
import { may } from "./session.js";
import { discard, release } from "./settle.js";
import { tokenView } from "./tokens.js";

const MARKS = { passed: "✓", refused: "✗", "not reached": "·", "not judged": "?" };
const NEVER_GENUINE = "It was never genuine, or is another message: a release changes nothing. Find out who writes to the broker, then discard it.";
const ADVICE = {
  too_old: "Its service was down for longer than the work counts. Release it, if it is still wanted.",
  expired: "Its service was down for longer than the work counts. Release it, if it is still wanted.",
  exhausted: "Its handling failed each time. Mend what failed, then release it.",
  poison: "It has ended several processes. Mend its handler, then release it.",
  revoked: "Its user’s access was ended while it waited. Discard it, mostly.",
  insufficient_scope: "Its user may not do that. A release changes nothing.",
  key_retired: "Its client sealed it with a key that is retired. Look at the rotation of that key.",
  id_reused: "Two messages came under one id, which is a fault of their publisher’s.",
  release_expired: "It was released, and not taken within ten minutes. Release it again.",
  delivery_limit: "The broker gave up on it, unread. Release it.",
  unknown_key: NEVER_GENUINE,
  bad_signature: NEVER_GENUINE,
  seal_mismatch: NEVER_GENUINE,
};

let shown = null; // the letter, and its queue
let home = "#refused";

export function setUp() {
  for (const [id, how] of [["letter-release", release], ["letter-discard", discard]]) {
    $(id).addEventListener("click", async () => {
      const { letter, queue } = shown;
      if (await how(queue, [letter])) location.hash = home;
    });
  }
  $("letter-back").addEventListener("click", () => { location.hash = home; });
}

/** Open a letter; `list` is where one comes back to. */
export async function open(digest, queue, list) {
  home = list;
  shown = null;
  $("letter-actions").hidden = true;
  clear($("letter"));
  await fill($("letter"), async () => {
    const letter = await get(`letters/${encodeURIComponent(digest)}`, { queue });
    shown = { letter, queue: queue ?? letter.queue };
    $("letter-actions").hidden = !may("dead-letters:release");
    return view(letter);
  });
}

export function close() {
  shown = null;
  clear($("letter"));
}

const view = (letter) => [
  h("header", { class: "card letter-head" },
    h("p", {}, h("span", { class: "stamp", "data-kind": "refused" }, letter.reason)),
    h("h2", {}, letter.type ?? "A message of no type"),
    h("p", { class: "long" }, letter.detail ?? ""),
    advice(letter)),
  h("div", { class: "two-of" },
    h("section", { class: "card", "aria-labelledby": "letter-checks" },
      h("h2", { id: "letter-checks" }, "The checks"),
      h("ol", { class: "check-list" }, letter.checks.map(check))),
    h("div", { class: "stack" },
      h("section", { class: "card", "aria-labelledby": "letter-facts" },
        h("h2", { id: "letter-facts" }, "What it is"),
        facts([
          ["Message", h("code", {}, letter.id)],
          ["User", letter.user === null ? "–" : h("a", { href: `#people/${encodeURIComponent(letter.user)}` }, letter.user)],
          ["Sealed by", letter.service],
          ["Meant for", letter.queue],
          ["Refused by", letter.refused_by],
          ["Refused", moment(letter.failed_at)],
          ["Copies", number(letter.copies)],
          ["Digest", h("code", {}, letter.digest)],
        ])),
      h("section", { class: "card", "aria-labelledby": "letter-body" },
        h("div", { class: "heading" }, h("h2", { id: "letter-body" }, "Body"), h("p", { class: "note" }, letter.content_type ?? "")),
        h("pre", { tabindex: "0", role: "region", "aria-label": "The body, as it was sent" }, letter.body ?? letter.body_base64 ?? "")))),
  h("section", { class: "card", "aria-labelledby": "letter-tokens" },
    h("h2", { id: "letter-tokens" }, "What travels with it"),
    ...[["The carnet", letter.carnet], ["The seal", letter.seal], ["The release", letter.release]].map(([title, token]) =>
      token === null
        ? h("p", { class: "note" }, `${title}: there is none that can be read.`)
        : h("details", {}, h("summary", {}, title), h("div", { class: "token" }, tokenView(token))))),
];

const advice = ({ reason }) => (ADVICE[reason] ? h("p", { class: "advice" }, ADVICE[reason])
  : reason.startsWith("wrong_") ? h("p", { class: "advice" }, NEVER_GENUINE) : null);

const check = ({ question, verdict, detail }) => h(
  "li",
  { "data-verdict": verdict },
  h("span", { class: "mark", "aria-hidden": "true" }, MARKS[verdict] ?? ""),
  h("span", { class: "question" }, question.charAt(0).toUpperCase() + question.slice(1)),
  h("span", { class: "time" }, verdict),
  detail ? h("span", { class: "reason" }, detail) : null,
);
