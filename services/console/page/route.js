// The address fragment says what is shown: `#view/of?query`.

import { asked } from "./asking.js";

export const address = (view, of = null, query = {}) => {
  const words = asked(query);
  return `#${view}${of === null ? "" : `/${encodeURIComponent(of)}`}${words === "" ? "" : `?${words}`}`;
};

export function here() {
  const [path, words = ""] = location.hash.slice(1).split("?", 2);
  const [view, of = ""] = path.split("/", 2);
  return { view, of: plain(of) || null, query: new URLSearchParams(words) };
}

export function go(...to) {
  location.hash = address(...to);
}

/** Say it in the address, without a step to go back. */
export function note(...to) {
  history.replaceState(null, "", address(...to));
}

function plain(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // somebody wrote it by hand
  }
}
