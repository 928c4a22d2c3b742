// People: accounts, found by name; one of them with its sessions, which can be ended.

import { get, remove } from "./asking.js";
import { confirmed } from "./confirm.js";
import { decode } from "./tokens.js";
import { $, h, say } from "./dom.js";
import { clear, facts, fill, mark, moment, number, short, table, words } from "./parts.js";
import { address, note } from "./route.js";
import { accessToken, may } from "./session.js";

const PAUSE = 300;

let timer = 0;
let found = [];
let account = null; // the one that is open

export function setUp() {
  $("people-form").addEventListener("submit", (event) => event.preventDefault());
  $("people-search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      note("people", null, { search: $("people-search").value.trim() });
      list();
    }, PAUSE);
  });
  $("end-all").addEventListener("click", endAll);
}

export function open({ of, query }) {
  $("people-view").hidden = of !== null;
  $("person-view").hidden = of === null;
  if (of !== null) return person(of);
  $("people-search").value = query.get("search") ?? "";
  return list();
}

export function leave() {
  clearTimeout(timer);
}

/** The session is over: nothing of it stays. */
export function close() {
  leave();
  found = [];
  account = null;
  for (const id of ["accounts", "person", "sessions"]) clear($(id));
  $("people-form").reset();
}

function list() {
  found = [];
  return fill($("accounts"), () => page(null));
}

async function page(after) {
  const told = await get("accounts", { search: $("people-search").value.trim(), after });
  found = [...found, ...told.accounts];
  const more = h("button", { type: "button", class: "second", on: { click: () => fill($("accounts"), () => page(told.next)) } }, "More accounts");
  return [
    table("Accounts, by name", [
      ["Name", (each) => h("a", { href: address("people", each.sub), id: `account-${each.sub}` }, each.name), "main"],
      ["Roles", (each) => each.roles.join(", ") || "–"],
      ["State", state],
      ["Live sessions", (each) => number(each.sessions), "number"],
      ["Since", (each) => moment(each.created_at)],
    ], found, { empty: "Nobody is called so." }),
    told.next === null ? null : h("p", { class: "actions" }, more),
  ].filter(Boolean);
}

const state = (each) => (each.enabled ? mark("good", "enabled") : mark("bad", "disabled"));

async function person(sub) {
  account = null;
  $("end-all").hidden = true;
  clear($("sessions"));
  await fill($("person"), async () => {
    const { accounts } = await get("accounts", { search: sub });
    account = accounts.find((each) => each.sub === sub) ?? null;
    if (account === null) return h("p", { class: "empty" }, "There is no such account any more.");
    return [
      h("h2", { class: "long" }, account.name),
      facts([
        ["State", state(account)],
        ["Roles", account.roles.join(", ") || "–"],
        ["Since", moment(account.created_at)],
        ["Subject", h("code", {}, account.sub)],
        ["In the audit log", h("span", { class: "links" },
          h("a", { href: address("audit", null, { about: account.sub }) }, "what it did"),
          h("a", { href: address("audit", null, { about: account.name }) }, "what was done to it"))],
      ]),
    ];
  });
  if (account !== null) await sessions();
}

async function sessions() {
  const own = decode(accessToken()).claims.sid;
  await fill($("sessions"), async () => {
    const told = await get(`accounts/${encodeURIComponent(account.sub)}/sessions`);
    $("end-all").hidden = !may("sessions:revoke") || !told.sessions.some((each) => each.live);
    const columns = [
      ["Session", (each) => h("span", {}, short(each.sid), each.sid === own ? h("small", {}, "the one you sit in") : null), "main"],
      ["State", (each) => h("span", {}, each.live ? mark("good", "live") : mark("plain", "over"), each.ended_why ? h("small", {}, words(each.ended_why)) : null)],
      ["Client", (each) => h("span", {}, each.client_id, h("small", {}, each.scope ?? "all that the account may"))],
      ["Began", (each) => moment(each.created_at)],
      ["Last used", (each) => moment(each.used_at)],
      ["Ends", (each) => moment(each.live ? each.expires_at : each.ended_at ?? each.expires_at)],
    ];
    if (may("sessions:revoke")) columns.push(["", (each) => (each.live ? ending(each, own) : ""), "act"]);
    return table(`Sessions of ${account.name}, the latest first`, columns, told.sessions, { empty: "There has been no session yet." });
  });
}

const ending = (each, own) => h("button", {
  type: "button", class: "second small", "aria-label": `End session ${each.sid}`, on: { click: () => end(each, own) },
}, "End…");

async function end(session, own) {
  const told = await confirmed({
    title: "End this session?",
    what: [
      `${account.name} is signed out of ${session.client_id}, and the tokens of that session are void at once, at every service.`,
      "What was sent with them and waits in a queue is refused as revoked.",
      session.sid === own ? "It is the session that you sit in: you are signed out too." : "Other sessions of the account go on.",
    ],
    verb: "End the session",
    danger: true,
    work: () => remove(`sessions/${encodeURIComponent(session.sid)}`),
  });
  if (told === null) return;
  say("The session has ended.");
  await sessions();
}

async function endAll() {
  const told = await confirmed({
    title: `End all sessions of ${account.name}?`,
    what: [
      `${account.name} is signed out everywhere, and all tokens of the account are void at once, at every service.`,
      "What was sent with them and waits in a queue is refused as revoked. The account may sign in again; to keep it out: carnet accounts disable.",
    ],
    verb: "End all sessions",
    danger: true,
    work: () => remove(`accounts/${encodeURIComponent(account.name)}/sessions`),
  });
  if (told === null) return;
  say(`All sessions of ${account.name} have ended.`);
  await sessions();
}
