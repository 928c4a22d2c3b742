// Server-sent events over fetch: an EventSource cannot send the Authorization header, and a token
// in the address would be logged.

import { bearer, renew, signedIn } from "./session.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 10_000;

/**
 * Listen to a stream until `signal` says otherwise, again after each loss.
 *
 * seen: where the last event's id is kept, in `last`, so that who listens again misses none.
 * on: called with each event's type and data (parsed).
 * ended: called where the stream says that its session is over; then it is not opened again.
 * state: called with "live" and "waiting".
 */
export async function listen(path, { signal, seen, on, ended, state }) {
  let wait = FIRST_WAIT;
  while (!signal.aborted && signedIn()) {
    try {
      const headers = seen.last ? { ...bearer(), "Last-Event-ID": seen.last } : bearer();
      const response = await fetch(path, { headers, signal, credentials: "omit", cache: "no-store" });
      if (response.status === 401) await renew();
      if (response.ok) {
        state("live");
        wait = FIRST_WAIT;
        for await (const event of events(response.body)) {
          if (event.id !== "") seen.last = event.id;
          const data = JSON.parse(event.data);
          if (event.type !== "end") on(event.type, data);
          else if (data.reason === "session_ended") return ended();
        }
      }
    } catch {
      // lost; opened again below
    }
    if (signal.aborted) return;
    state("waiting");
    await pause(Math.random() * wait, signal);
    wait = Math.min(wait * 2, LONGEST_WAIT);
  }
}

/** The events of a body (HTML Living Standard §9.2.6); comments are signs of life. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = { type: "message", data: [], id: "" };
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (event.data.length > 0) yield { ...event, data: event.data.join("\n") };
        event = { type: "message", data: [], id: "" };
      }
      const [field, content] = split(line);
      if (field === "event") event.type = content;
      if (field === "data") event.data.push(content);
      if (field === "id") event.id = content;
    }
  }
}

function split(line) {
  const colon = line.indexOf(":");
  if (colon < 1) return ["", ""];
  return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", resolve, { once: true });
  });
}
