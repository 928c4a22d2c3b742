// Before something is done that cannot be undone: what happens, and whether it shall.

import { $, complain, h, submitting } from "./dom.js";

let working = false;
let asked = null; // what is done if the answer is yes, and whom to tell

export function setUp() {
  $("confirm-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.submitter?.value !== "yes") return $("confirm").close();
    submitting($("confirm-form"), "confirm-problem", async () => {
      const { work, done } = asked;
      working = true;
      const result = await work().finally(() => { working = false; });
      asked = null;
      $("confirm").close();
      done(result);
    });
  });
  $("confirm").addEventListener("cancel", (event) => {
    if (working) event.preventDefault(); // it can be called off no more
  });
  $("confirm").addEventListener("close", () => {
    if ($("confirm").open) return; // told late: something else is asked already
    asked?.done(null);
    asked = null;
  });
}

/**
 * Ask; where one agrees, do `work` and answer with its result, else with null.
 *
 * Where it fails, the dialog stays, and says why. what: lines, or elements.
 */
export function confirmed({ title, what, verb, danger = false, work }) {
  const { promise, resolve } = Promise.withResolvers();
  asked?.done(null);
  asked = { work, done: resolve };
  $("confirm-title").textContent = title;
  $("confirm-what").replaceChildren(...what.map((each) => (typeof each === "string" ? h("p", {}, each) : each)));
  $("confirm-yes").textContent = verb;
  $("confirm-yes").classList.toggle("danger", danger);
  complain("confirm-problem", null);
  $("confirm").showModal();
  return promise;
}

/** The session is over: nothing is to be agreed to. */
export function close() {
  $("confirm").close();
}
