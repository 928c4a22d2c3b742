// The session: its tokens, in this module's memory and nowhere else.
//
// Not in local storage, which every script of the origin can read and which outlives the page; and
// in no cookie, so that no other site can make a browser send one. A reload signs out of the page.
// Everything else asks `call` and `bearer`; whoever signs in another way changes this file, and the
// page's own `api.js`, which says where its service is asked.

import { NAME, refreshing, signingIn, signingOut } from "./api.js";

/** What the service answers where it does not do what was asked (RFC 9457). */
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail ?? document.error_description ?? document.title ?? `HTTP ${status}`);
    this.status = status;
    this.code = document.code ?? document.error ?? "";
  }
}

const OVER = new Set([400, 401, 403]); // RFC 6749 §5.2; 429, say, is for later

let tokens = null;
let renewing = null;
let timer = 0;
let ending = false;
const listeners = new Set();

export const signedIn = () => tokens !== null;
export const name = () => tokens?.name ?? "";
export const accessToken = () => tokens?.access ?? null;
export const may = (scope) => tokens?.scopes.has(scope) ?? false;
export const bearer = () => ({ Authorization: `Bearer ${tokens?.access ?? ""}` });

/** Have `listener` called when somebody has signed in, the token is a new one, or it is over. */
export function onChange(listener) {
  listeners.add(listener);
}

export async function signIn(login, password) {
  const { data } = await send(...signingIn(login, password));
  keep(login, data);
  tell("signed-in");
}

export async function signOut() {
  try {
    await endingBy(() => call(...signingOut), "signed-out");
  } catch (problem) {
    if (problem.status !== 400 && problem.status !== 401) throw problem;
    forget("ended"); // somebody was faster
  }
}

/** The service says that the session was ended, by somebody. */
export function ended() {
  if (!ending) forget("ended");
}

/** Do what ends the session at the service itself, and only then forget it here. */
export async function endingBy(work, why) {
  ending = true;
  try {
    await work();
  } finally {
    ending = false;
  }
  forget(why);
}

/** The session is over: nothing can be asked with it any more. */
export function forget(why) {
  if (tokens === null) return;
  clearTimeout(timer);
  tokens = null;
  tell(why);
}

/** New tokens for the old ones (RFC 6749 §6); many who ask at once share one call. */
export function renew() {
  renewing ??= exchange().finally(() => { renewing = null; });
  return renewing;
}

/** Ask the API as the one who is signed in. A token that has just ended is renewed, once. */
export async function call(path, options = {}) {
  const asked = tokens;
  try {
    return await send(path, { ...options, headers: { ...options.headers, ...bearer() } });
  } catch (problem) {
    if (problem.status !== 401 || asked === null) throw problem;
    if (tokens === asked) await renew();
    return send(path, { ...options, headers: { ...options.headers, ...bearer() } });
  }
}

async function exchange() {
  const held = tokens;
  if (held === null) throw new Problem(401, { detail: "You are not signed in." });
  try {
    const { data } = await send(...refreshing(held.refresh));
    if (tokens === held) {
      keep(held.name, data);
      tell("renewed");
    }
  } catch (problem) {
    // Asked again later where the service is only away.
    if (tokens === held && OVER.has(problem.status)) ended();
    throw problem;
  }
}

function keep(login, answer) {
  tokens = {
    name: login,
    access: answer.access_token,
    refresh: answer.refresh_token,
    scopes: new Set(answer.scope.split(" ")),
  };
  clearTimeout(timer);
  timer = setTimeout(() => renew().catch(() => {}), (answer.expires_in * 1000 * 2) / 3);
}

function tell(what) {
  for (const listener of listeners) listener(what);
}

/** Send a request; answers with what came back, and throws a `Problem` for anything but success. */
export async function send(path, { method = "POST", json, body, headers = {} } = {}) {
  const request = { method, headers: { ...headers }, body, credentials: "omit", cache: "no-store" };
  if (json !== undefined) {
    request.body = JSON.stringify(json);
    request.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, request);
  } catch {
    throw new Problem(0, { detail: `${NAME} cannot be reached. Try again in a moment.` });
  }
  const text = await response.text();
  let data = null;
  try {
    data = text === "" ? null : JSON.parse(text);
  } catch {
    data = {};
  }
  if (!response.ok) throw new Problem(response.status, data ?? {});
  return { status: response.status, data };
}
