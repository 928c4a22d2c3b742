// Audit: who did what, on whom, when, and what was refused.

import { get } from "./asking.js";
import { $, h } from "./dom.js";
import { clear, fill, mark, moment, short, table, who, words } from "./parts.js";
import { note } from "./route.js";

const PAUSE = 300;
const FIELDS = ["what", "outcome", "about"];

export const WHAT = [
  "sign_in", "sign_out", "refresh", "register", "client_credentials", "exchange", "introspect", "authorize",
  "redeem_code", "allow_device", "deny_device", "redeem_device", "add_client", "remove_client", "revoke_token",
  "revoke_session", "revoke_user", "add_account", "change_password", "change_roles", "enable", "disable",
  "rotate_key", "retire_key", "adopt_key_set", "release", "discard", "renew_feed",
];

let timer = 0;
let found = [];

export function setUp() {
  $("audit-what").append(...WHAT.toSorted().map((what) => h("option", { value: what }, words(what))));
  $("audit-form").addEventListener("submit", (event) => event.preventDefault());
  $("audit-form").addEventListener("input", (event) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      note("audit", null, filter());
      list();
    }, event.target.type === "search" ? PAUSE : 0);
  });
  $("audit-clear").addEventListener("click", () => {
    $("audit-form").reset();
    note("audit");
    list();
  });
}

export function open({ query }) {
  for (const name of FIELDS) $(`audit-${name}`).value = query.get(name) ?? "";
  return list();
}

export function leave() {
  clearTimeout(timer);
}

/** The session is over: nothing of it stays. */
export function close() {
  leave();
  found = [];
  clear($("entries"));
  $("audit-form").reset();
}

const filter = () => Object.fromEntries(FIELDS.map((name) => [name, $(`audit-${name}`).value.trim()]));

function list() {
  found = [];
  return fill($("entries"), () => page(null));
}

async function page(before) {
  const told = await get("audit", { ...filter(), before });
  found = [...found, ...told.entries];
  const older = h("button", { type: "button", class: "second", on: { click: () => fill($("entries"), () => page(told.next)) } }, "Older entries");
  return [
    table("The audit log, the latest first", [
      ["At", (each) => moment(each.at)],
      ["What", (each) => words(each.what), "main"],
      ["Outcome", (each) => (each.outcome === "done" ? mark("good", "done") : mark("bad", each.outcome))],
      ["Who", (each) => named(each.who, each.client)],
      ["Whom", (each) => named(each.whom, null)],
      ["Why", (each) => h("span", { class: "long" }, each.why ?? "–"), "wide"],
      ["Session", (each) => h("span", {}, short(each.session), each.origin ? h("small", {}, "from ", short(each.origin)) : null)],
    ], found, { empty: "Nothing fits." }),
    told.next === null ? null : h("p", { class: "actions" }, older),
  ].filter(Boolean);
}

const named = (somebody, client) => h("span", {}, who(somebody), client ? h("small", {}, `by ${client}`) : null);
