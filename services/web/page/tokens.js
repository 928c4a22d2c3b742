// Tokens, opened and read: claim by claim.

import { CLAIMS, HEADERS, KINDS, shown } from "./claims.js";
import { h, openReader } from "./dom.js";

/** A compact JWS, taken apart (RFC 7515 §3.1). Reading is not believing: nothing is verified here. */
export function decode(token) {
  const parts = token.trim().replace(/^Bearer /, "").split(".");
  if (parts.length !== 3) throw new Error("A token has three parts, with full stops between them.");
  try {
    return { header: part(parts[0]), claims: part(parts[1]), parts };
  } catch {
    throw new Error("Its first two parts are not JSON in base64url.");
  }
}

/** A token as tables; with its own text where that is at hand. */
export function tokenView({ header, claims, parts = null }) {
  return [
    h("p", { class: "kind" }, KINDS[header.typ] ?? `A token of the type ${header.typ}`),
    table("Header", header, HEADERS),
    table("Claims", claims, CLAIMS),
    parts === null
      ? h("p", { class: "note" }, "Its signature is not shown: without it these words are no token.")
      : h("details", {}, h("summary", {}, "The token itself"), raw(parts)),
  ];
}

/** Open the reader on a token. */
export const read = (title, token) => openReader(title, ...tokenView(token));

/** A button that opens one. */
export function opener(label, title, token) {
  return h("button", { type: "button", class: "quiet", on: { click: () => read(title, token) } }, label);
}

function table(caption, values, meanings) {
  return h(
    "table",
    { class: "claims" },
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, ...["Name", "Value", "What it means"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, Object.entries(values).map(([name, value]) => row(name, value, meanings[name]))),
  );
}

function row(name, value, meaning) {
  const [text, source] = meaning ?? ["Not one that Carnet knows.", null];
  const reference = source === null ? null
    : source.href === null ? h("span", { class: "source" }, source.text)
    : h("a", { class: "source", href: source.href, rel: "noreferrer", target: "_blank" }, source.text);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, h("code", {}, name)),
    h("td", { class: "value" }, shown(name, value)),
    h("td", {}, text, " ", reference),
  );
}

function raw([header, payload, signature]) {
  return h(
    "p",
    { class: "raw" },
    h("span", { class: "part-1" }, header), ".",
    h("span", { class: "part-2" }, payload), ".",
    h("span", { class: "part-3" }, signature),
  );
}

function part(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  const value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("no object");
  return value;
}
