// The console put together: who is signed in, and which of its views is shown.

import { answered } from "./asking.js";
import * as audit from "./audit.js";
import * as confirm from "./confirm.js";
import { $, complain, say, submitting } from "./dom.js";
import * as feed from "./feed.js";
import * as keys from "./keys.js";
import * as live from "./live.js";
import * as overview from "./overview.js";
import { number } from "./parts.js";
import * as people from "./people.js";
import * as queues from "./queues.js";
import * as refused from "./refused.js";
import { here } from "./route.js";
import * as session from "./session.js";
import * as settle from "./settle.js";

const VIEWS = { overview, refused, people, keys, feed, queues, audit };
const FIRST = "overview";
const OVER = {
  "signed-out": "You have signed out.",
  ended: "Your session has ended. Sign in again.",
};

let shown = null; // the name of the view
let opened = null; // and what of it

function setUp() {
  for (const part of [confirm, settle, ...Object.values(VIEWS)]) part.setUp();
  $("credentials").addEventListener("submit", enter);
  $("sign-out").addEventListener("click", leave);
  $("skip").addEventListener("click", skip);
  addEventListener("hashchange", show);
  session.onChange(changed);
  live.onLook(showDead);
}

async function enter(event) {
  event.preventDefault();
  const { name, password } = $("credentials").elements;
  await submitting($("credentials"), "credentials-problem", async () => {
    await session.signIn(name.value, password.value);
    password.value = "";
  });
}

/** To the content; the address says which view that is, and nothing else. */
function skip(event) {
  event.preventDefault();
  $(session.signedIn() ? "main" : "login").focus();
}

/** Sign out, when nothing is being asked any more that would be refused. */
async function leave() {
  live.pause();
  VIEWS[shown].leave();
  await answered();
  try {
    await session.signOut();
  } catch (problem) {
    say(problem.message);
    live.start();
    show();
  }
}

function changed(what) {
  if (what === "signed-in") begin();
  else if (what !== "renewed") end(what);
}

function begin() {
  $("name").textContent = session.name();
  visible(true);
  complain("credentials-problem", null);
  say("You are signed in.");
  live.start();
  show();
}

function end(why) {
  confirm.close();
  $("reader").close();
  live.close();
  for (const view of Object.values(VIEWS)) view.close();
  shown = opened = null;
  $("dead-count").hidden = true;
  visible(false);
  complain("credentials-problem", new Error(OVER[why]));
  $("login").focus();
}

function visible(desk) {
  $("welcome").hidden = desk;
  $("who").hidden = !desk;
  $("desk").hidden = !desk;
}

/** Show what the address says. What one came to has the focus, as a page that is loaded has. */
function show() {
  if (!session.signedIn()) return;
  const route = here();
  const name = Object.hasOwn(VIEWS, route.view) ? route.view : FIRST;
  if (shown !== name) VIEWS[shown]?.leave();
  const moved = shown !== name || opened !== route.of;
  shown = name;
  opened = route.of;
  for (const each of Object.keys(VIEWS)) {
    $(each).hidden = each !== name;
    const link = $(`to-${each}`);
    if (each === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${$(`title-${name}`).textContent} · Carnet console`;
  $(`to-${name}`).scrollIntoView({ block: "nearest", inline: "nearest" });
  if (moved) {
    scrollTo(0, 0);
    $(`title-${name}`).focus({ preventScroll: true });
  }
  VIEWS[name].open(route);
}

/** How many refused messages there are stands beside the way to them. */
function showDead(points) {
  const dead = points.at(-1)?.series["dead.letters"] ?? null;
  $("dead-count").hidden = !dead;
  $("dead-count").textContent = number(Math.round(dead ?? 0));
}

setUp();
