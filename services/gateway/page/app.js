// The page put together: who is signed in, and what they see.

import { registering } from "./api.js";
import { $, complain, say, submitting } from "./dom.js";
import * as forge from "./forge.js";
import * as orders from "./orders.js";
import * as session from "./session.js";
import { decode, read, tokenView } from "./tokens.js";
import { traced } from "./trace.js";

const SECOND = 1000;
const OVER = {
  "signed-out": "You have signed out.",
  ended: "Your session has ended. Sign in again.",
  revoked: "You have revoked yourself: your session is over at every service. Sign in again to go on.",
};

async function setUp() {
  orders.setUp();
  forge.setUp();
  setUpTabs();
  $("credentials").addEventListener("submit", enter);
  $("sign-out").addEventListener("click", leave);
  $("renew").addEventListener("click", renew);
  $("read").addEventListener("submit", readPasted);
  session.onChange(changed);
  setInterval(showLeft, SECOND);
  const { playground, traces } = await (await fetch("/page/settings")).json();
  traced(traces);
  $("tab-forge").hidden = !playground;
}

async function enter(event) {
  event.preventDefault();
  const form = $("credentials");
  const { name, password } = form.elements;
  const anew = event.submitter?.value === "register";
  await submitting(form, "credentials-problem", async () => {
    if (anew) await session.send(...registering(name.value, password.value));
    await session.signIn(name.value, password.value);
    password.value = "";
  });
}

async function leave() {
  try {
    await session.signOut();
  } catch (problem) {
    say(problem.message);
  }
}

async function renew() {
  try {
    await session.renew();
    say("The token is a new one.");
  } catch (problem) {
    say(problem.message);
  }
}

function readPasted(event) {
  event.preventDefault();
  try {
    complain("read-problem", null);
    read("A token", decode($("pasted").value));
  } catch (problem) {
    complain("read-problem", problem);
  }
}

function changed(what) {
  if (what === "signed-in") begin();
  else if (what !== "renewed") end(what);
  showToken();
}

function begin() {
  $("name").textContent = session.name();
  show(true);
  forge.close();
  orders.close();
  orders.open();
  $("tab-orders").click();
  $("desk-title").focus();
  complain("credentials-problem", null);
  say("You are signed in.");
}

function end(why) {
  orders.close();
  // Where one has revoked oneself, what became of that stays to be seen, below the way back in.
  if (why !== "revoked") forge.close();
  show(false, why === "revoked");
  complain("credentials-problem", new Error(OVER[why]));
  $("login").focus();
}

/** Who is signed in sees the desk; who is not, the way in. */
function show(desk, forgedToo = false) {
  $("welcome").hidden = desk;
  $("who").hidden = !desk;
  $("desk").hidden = !desk && !forgedToo;
  document.body.dataset.revoked = String(forgedToo);
}

function showToken() {
  const token = session.accessToken();
  $("access").replaceChildren(...(token === null ? [] : tokenView(decode(token))));
  showLeft();
}

function showLeft() {
  const token = session.accessToken();
  if (token === null) return;
  const seconds = Math.max(0, Math.round(decode(token).claims.exp - Date.now() / SECOND));
  $("left").textContent = `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** Tabs by the pattern of the ARIA Authoring Practices: arrows move, Home and End jump. */
function setUpTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const select = (tab) => {
    for (const each of tabs) {
      const chosen = each === tab;
      each.setAttribute("aria-selected", String(chosen));
      each.tabIndex = chosen ? 0 : -1;
      $(each.getAttribute("aria-controls")).hidden = !chosen;
    }
  };
  for (const tab of tabs) {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", (event) => {
      const shown = tabs.filter((each) => !each.hidden);
      const at = shown.indexOf(tab);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: shown.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = shown.at(to % shown.length);
      select(next);
      next.focus();
    });
  }
}

setUp();
