// Whose fault it is: theirs (refuse, for good) or ours (ask again, refuse nothing).

/** What came in is refused. `code` is one of the codes of docs/wire-contract.md. */
export class Refusal extends Error {
  constructor(code, detail) {
    super(`${code}: ${detail}`);
    this.code = code;
    this.detail = detail;
    /** Set once carnet and seal are known to be genuine and of this message (checks 1 to 9). */
    this.authenticated = null;
  }
}

/** Nothing can be judged at present. */
export class TrustUnavailable extends Error {}

/** A key set statement, a trust root or a key cannot be believed. */
export class KeySetError extends Error {}

/** The service that was asked refuses; `code` is its own. */
export class RpcRefused extends Error {
  constructor({ code, detail }) {
    super(`${code}: ${detail}`);
    this.code = code;
  }
}

export function refuse(code, detail) {
  throw new Refusal(code, detail);
}
