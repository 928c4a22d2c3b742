// The trace that begins with a click (W3C Trace Context), by whose id one finds it where traces are kept.

let share = null; // of the traces that begin here, how many are told of; null where nobody traces

/** What the gateway says of itself: how many of its traces are told of, from 0 to 1, or null. */
export function traced(part) {
  share = part;
}

/** A new trace: its id, what begins it at the gateway, and whether it is told of; null where nobody traces. */
export function beginTrace() {
  if (share === null) return null;
  const id = random(16);
  const told = isTold(id, share);
  return { id, told, headers: { traceparent: `00-${id}-${random(8)}-${told ? "01" : "00"}` } };
}

/** Whether the gateway's sampler would choose it (TraceIdRatioBased): a click is no way around that. */
export function isTold(id, part) {
  return BigInt(`0x${id.slice(16)}`) < BigInt(Math.round(part * 2 ** 64));
}

/** That many random bytes, in hexadecimal digits. */
function random(bytes) {
  const values = [...crypto.getRandomValues(new Uint8Array(bytes))];
  return values.map((value) => value.toString(16).padStart(2, "0")).join("");
}
