// Compact JWS: signed, and checked one step at a time (checks 2 to 7 of docs/wire-contract.md).

import { createHash } from 'node:crypto';
import { CompactSign, compactVerify, errors } from 'jose';
import { claimsSchema } from './contracts.js';
import { refuse } from './errors.js';
import { ALGORITHMS } from './keys.js';
import { faults } from './schema.js';
import { decodeBase64url, parseJsonObject } from './strict.js';

export const MAX_TOKEN = 4096;
export const MAX_STATEMENT = 256 * 1024;
const MAX_ACTORS = 3;
export const TYP = {
  accessToken: 'at+jwt',
  carnet: 'carnet+jwt',
  seal: 'carnet-seal+jwt',
  keySet: 'carnet-keys+jwt',
  revocation: 'secevent+jwt',
  heartbeat: 'carnet-heartbeat+jwt',
  snapshot: 'carnet-snapshot+jwt',
  assertion: 'client-authentication+jwt',
};

const SCHEMAS = new Map(
  Object.entries({
    [TYP.carnet]: 'carnet',
    [TYP.seal]: 'seal',
    [TYP.keySet]: 'key-set',
    [TYP.revocation]: 'revocation',
    [TYP.heartbeat]: 'heartbeat',
    [TYP.snapshot]: 'snapshot',
  }).map(([typ, name]) => [typ, claimsSchema(name)]),
);

/** Base64url SHA-256, as `ath` and `bh` carry it. */
export function digest(data) {
  return createHash('sha256').update(data).digest('base64url');
}

export async function sign(claims, typ, { key, alg, kid }) {
  const payload = new TextEncoder().encode(JSON.stringify(claims));
  return new CompactSign(payload).setProtectedHeader({ alg, kid, typ }).sign(key);
}

/** A token of which nothing is believed until each step has been taken, in this order. */
export class UnverifiedToken {
  #parts;
  #holds = false;

  constructor(text, { limit = MAX_TOKEN } = {}) {
    this.text = text;
    this.limit = limit;
  }

  /** Check 2. */
  takeApart() {
    if (this.text.length > this.limit) refuse('oversized_token', `longer than ${this.limit}`);
    const parts = this.text.split('.');
    if (parts.length !== 3 || !parts.every(Boolean)) refuse('malformed_token', 'not three parts');
    try {
      this.#parts = parts.map(decodeBase64url);
    } catch (error) {
      refuse('malformed_token', error.message);
    }
  }

  /** Check 3. */
  readHeader() {
    let header;
    try {
      header = parseJsonObject(this.#parts[0]);
    } catch (error) {
      refuse('malformed_header', error.message);
    }
    const exactly = Object.keys(header).sort().join() === 'alg,kid,typ';
    if (!exactly || !Object.values(header).every((value) => typeof value === 'string' && value)) {
      refuse('malformed_header', 'not exactly alg, kid and typ');
    }
    this.header = header;
  }

  /** Check 4. */
  checkAlgorithm(typ) {
    if (this.header.typ !== typ) refuse('wrong_type', `typ is not ${typ}`);
    if (!ALGORITHMS.has(this.header.alg)) refuse('algorithm_not_allowed', 'alg is not allowed');
  }

  /** Check 5, but for what only the claims tell (`checkSigningTime`). */
  useKey(listed) {
    if (listed.alg !== this.header.alg) refuse('key_mismatch', 'alg is not that of the key');
    this.listed = listed;
  }

  /** Check 6. */
  async checkSignature() {
    try {
      await compactVerify(this.text, this.listed.key, { algorithms: [this.listed.alg] });
    } catch (error) {
      if (!(error instanceof errors.JOSEError)) throw error;
      refuse('bad_signature', "the signature is not that key's");
    }
    this.#holds = true;
  }

  /** Check 7. */
  readClaims() {
    if (!this.#holds) throw new Error('the signature comes before the claims');
    let claims;
    try {
      claims = parseJsonObject(this.#parts[1]);
    } catch (error) {
      refuse('malformed_claims', error.message);
    }
    const wrong = faults(claims, SCHEMAS.get(this.header.typ));
    if (wrong.length > 0) refuse('malformed_claims', `missing or mistyped: ${wrong.join(', ')}`);
    if (depthOf(claims.act) > MAX_ACTORS) refuse('malformed_claims', 'actors nested too deep');
    this.claims = claims;
  }

  /** The rest of check 5: a retired key is believed for what it signed up to then. */
  checkSigningTime() {
    if (this.listed.retiredAt !== undefined && this.claims.iat > this.listed.retiredAt) {
      refuse('key_retired', 'signed with a key after its retirement');
    }
  }
}

function depthOf(actor) {
  return actor == null ? 0 : 1 + depthOf(actor.act);
}
