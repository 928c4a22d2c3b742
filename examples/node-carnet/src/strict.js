// What a token must look like before any library reads it ("Tokens" in docs/wire-contract.md).
//
// JSON.parse takes the last of two members of one name, and Buffer decodes what is no canonical
// base64url: two readers that disagree on a token are how a signature over one thing is taken for
// another.

const MAX_DEPTH = 16;
const MAX_DIGITS = 16;
const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const STRING = /"(?:[^"\\]|\\.)*"/sy;
const SPACE = /[ \t\n\r]*/y;
const WORD = /true|false|null/y;

/** A number that is no integer: written with a point or an exponent, or not exact as a double. */
export class Float {
  constructor(value) {
    this.value = value;
  }
}

/** Decode the one canonical encoding: no padding, no stray bits. Throws SyntaxError. */
export function decodeBase64url(text) {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) throw new SyntaxError('not base64url');
  const bytes = Buffer.from(text, 'base64url');
  if (bytes.toString('base64url') !== text) throw new SyntaxError('not canonical base64url');
  return bytes;
}

/** Parse a JSON object as RFC 8259 means it. Throws SyntaxError. */
export function parseJsonObject(bytes) {
  let text;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SyntaxError('not UTF-8');
  }
  const parsed = new Reader(text).document();
  if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed) || parsed instanceof Float) {
    throw new SyntaxError('not a JSON object');
  }
  return parsed;
}

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  document() {
    const value = this.value(0);
    this.space();
    if (this.at !== this.text.length) throw new SyntaxError('something after the JSON');
    return value;
  }

  value(depth) {
    this.space();
    switch (this.text[this.at]) {
      case '{': return this.object(depth + 1);
      case '[': return this.array(depth + 1);
      case '"': return this.string();
      case 't': case 'f': case 'n': return JSON.parse(this.match(WORD));
      default: return this.number();
    }
  }

  object(depth) {
    const members = Object.create(null);
    this.each(depth, '}', () => {
      this.space();
      const name = this.string();
      if (name in members) throw new SyntaxError('duplicate key');
      this.space();
      this.expect(':');
      members[name] = this.value(depth);
    });
    return members;
  }

  array(depth) {
    const items = [];
    this.each(depth, ']', () => items.push(this.value(depth)));
    return items;
  }

  each(depth, end, read) {
    if (depth > MAX_DEPTH) throw new SyntaxError('nested too deep');
    this.at += 1;
    this.space();
    if (this.text[this.at] === end) {
      this.at += 1;
      return;
    }
    for (;;) {
      read();
      this.space();
      if (this.text[this.at] === end) break;
      this.expect(',');
    }
    this.at += 1;
  }

  string() {
    const text = JSON.parse(this.match(STRING)); // which refuses bare control characters
    if (text.includes('\0') || !text.isWellFormed()) {
      throw new SyntaxError('NUL or lone surrogate in a string');
    }
    return text;
  }

  number() {
    const text = this.match(NUMBER);
    const value = Number(text);
    if (/[.eE]/.test(text)) {
      if (!Number.isFinite(value)) throw new SyntaxError('number too large');
      return new Float(value);
    }
    if (text.length > MAX_DIGITS) throw new SyntaxError('integer too long');
    const exact = Number.isSafeInteger(value) || BigInt(text) === BigInt(value);
    return exact ? value : new Float(value);
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const [found] = pattern.exec(this.text) ?? [];
    if (found === undefined) throw new SyntaxError('not JSON');
    this.at += found.length;
    return found;
  }

  space() {
    this.match(SPACE);
  }

  expect(character) {
    if (this.text[this.at] !== character) throw new SyntaxError(`expected ${character}`);
    this.at += 1;
  }
}
