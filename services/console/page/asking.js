// Questions to the console's API, as the operator who is signed in; and again, and again.

import { API } from "./api.js";
import { call } from "./session.js";

const waiting = new Set(); // questions without an answer yet

export async function get(path, query = {}) {
  const words = asked(query);
  const answer = call(`${API}/${path}${words === "" ? "" : `?${words}`}`, { method: "GET" });
  waiting.add(answer);
  try {
    return (await answer).data;
  } finally {
    waiting.delete(answer);
  }
}

/** All that was asked is answered, or has failed. */
export const answered = () => Promise.allSettled(waiting);

export async function post(path, json) {
  const { data } = await call(`${API}/${path}`, { json });
  return data;
}

export async function remove(path) {
  const { data } = await call(`${API}/${path}`, { method: "DELETE" });
  return data;
}

/** A query string; what is empty is left out, and of a list each is named. */
export function asked(query) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value].flat()) if (each !== null && each !== undefined && each !== "") words.append(name, each);
  }
  return words.toString();
}

/** Do `work` now and `seconds` after its end, again and again; not while nobody sees the page. Answers with its stop. */
export function repeatedly(seconds, work) {
  let timer = 0;
  let busy = false;
  let over = false;
  const turn = async () => {
    clearTimeout(timer);
    if (busy || over || document.hidden) return;
    busy = true;
    await work();
    busy = false;
    if (!over) timer = setTimeout(turn, seconds * 1000);
  };
  document.addEventListener("visibilitychange", turn);
  turn();
  return () => {
    over = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", turn);
  };
}
