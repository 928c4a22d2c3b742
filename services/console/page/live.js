// What the system does, as of now: the last quarter of an hour, a point every two seconds.

import { get, repeatedly } from "./asking.js";

export const KEPT = 15 * 60;

let points = [];
let stop = null;
const listeners = new Set();

/** Have `listener` called with all points, and a problem where there is one, at each look. */
export function onLook(listener) {
  listeners.add(listener);
}

export function start() {
  stop ??= repeatedly(2, look);
}

export function pause() {
  stop?.();
  stop = null;
}

/** The session is over: nothing of it stays. */
export function close() {
  pause();
  points = [];
}

async function look() {
  let problem = null;
  const running = stop;
  try {
    const told = await get("rates", { after: points.at(-1)?.at });
    if (stop !== running) return;
    const fresh = told.points.filter((point) => point.at > (points.at(-1)?.at ?? 0));
    points = [...points, ...fresh];
    const end = points.at(-1)?.at ?? 0;
    points = points.filter((point) => point.at > end - KEPT);
  } catch (error) {
    problem = error;
  }
  for (const listener of listeners) listener(points, problem);
}
