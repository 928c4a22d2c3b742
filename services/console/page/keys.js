// Keys: the issuer's, which change here; where each service stands; and how other keys change.

import { get, post } from "./asking.js";
import { confirmed } from "./confirm.js";
import { $, h, say } from "./dom.js";
import { clear, facts, fill, mark, moment, short, table, yes } from "./parts.js";
import { may } from "./session.js";

/** The key that signs, as the reader sees it: only this one is replaced. */
let signing = null;

const STATES = { active: "good", next: "warn", retired: "plain" };

export function setUp() {
  $("rotate").addEventListener("click", rotate);
}

export async function open() {
  $("rotate").hidden = !may("keys:rotate");
  await Promise.all([keys(), standing()]);
}

export function leave() {}

/** The session is over: nothing of it stays. */
export function close() {
  clear($("issuer-keys"));
  clear($("standing"));
}

const keys = () => fill($("issuer-keys"), async () => {
  const told = await get("keys");
  signing = told.keys.find((each) => each.signing)?.kid ?? null;
  const columns = [
    ["Key", (each) => h("span", {}, short(each.kid), each.signing ? mark("good", "signs now") : null), "main"],
    ["In the statement", (each) => (each.state === null ? mark("plain", "not any more") : mark(STATES[each.state], each.state))],
    ["Signs since", (each) => moment(each.since)],
    ["Signed until", (each) => moment(each.retired_at)],
    ["Held here", (each) => yes(each.here, "yes", "no")],
  ];
  if (may("keys:rotate")) columns.push(["", (each) => (can(each) ? retiring(each) : ""), "act"]);
  return table("Keys of the issuer, the oldest first", columns, told.keys);
});

/** Whether there is anything to retire. */
const can = (each) => each.retired_at === null && (each.signing || each.state === "next");

const retiring = (each) => h("button", {
  type: "button", class: "second small", "aria-label": `Retire key ${each.kid}`, on: { click: () => retire(each) },
}, "Retire…");

async function rotate() {
  await change("The issuer signs with the next key now.", {
    title: "Let the next key sign?",
    what: [
      "From now on the issuer signs with the next key that the trust root has listed, at all its replicas. Services know that key already, so nothing is refused.",
      "What the key of before has signed stays good until it ends by itself. It does not sign again.",
      "Afterwards, tell the trust root: carnet trust rotate issuer, and once more to list another next key.",
    ],
    verb: "Rotate",
    work: () => post(signing === null ? "keys/rotate" : `keys/rotate?instead_of=${encodeURIComponent(signing)}`),
  });
}

async function retire(key) {
  await change("The key is retired.", {
    title: "Retire this key?",
    what: [
      h("p", {}, "Key ", h("code", {}, key.kid)),
      key.signing
        ? "It signs now: the next key that is listed takes its place at once."
        : "It has not signed yet, and never will.",
      "What it has signed is believed as before. If it may have been stolen, have the trust root withdraw it: carnet trust withdraw issuer --kid …",
    ],
    verb: "Retire the key",
    danger: true,
    work: () => post(`keys/${encodeURIComponent(key.kid)}/retire`),
  });
}

async function change(said, dialog) {
  const told = await confirmed(dialog);
  if (told !== null) say(`${said} ${told.kid} signs.`);
  await keys(); // also where it was refused: another operator may have changed them
}

const standing = () => fill($("standing"), async () => {
  const { key_set: keySet, parties } = await get("standing");
  return [
    facts([
      ["Version", h("code", {}, String(keySet.version))],
      ["Issued", moment(keySet.issued_at)],
      ["Ends", moment(keySet.expires_at)],
    ]),
    table("Where each service stands", [
      ["Service", (each) => each.name, "main"],
      ["Key set", (each) => version(each, keySet.version)],
      ["Ends", (each) => moment(each.key_set_expires_at)],
      ["Release", (each) => each.release ?? "–"],
    ], parties),
  ];
});

const version = (each, current) => each.key_set_version === null ? mark("plain", "does not say")
  : each.key_set_version === current ? mark("good", "this version") : mark("warn", `version ${each.key_set_version}`);
