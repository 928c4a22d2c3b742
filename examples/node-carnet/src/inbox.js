// Check 13, in memory: what was handled is forgotten with the process.
//
// A service keeps this table in its database, and writes a message's row in the transaction of its
// effect: then a crash between the two cannot lose or repeat the work.

import { refuse } from './errors.js';
import { LEEWAY } from './keyset.js';
import { digest } from './tokens.js';

export class Inbox {
  #rows = new Map();

  /** undefined for a new message; else what became of it. Refuses another one of its id. */
  find({ carnet, seal }) {
    const row = this.#rows.get(keyOf(seal));
    if (row !== undefined && row.value !== valueOf(carnet, seal)) {
      refuse('id_reused', 'another message had this id');
    }
    return row?.outcome;
  }

  /** outcome: `{code, detail}` of a refusal, or `{}`. */
  add({ carnet, seal }, outcome, now) {
    this.#prune(now);
    const forgetAt = seal.exp + 2 * LEEWAY; // from then on check 10 refuses it
    this.#rows.set(keyOf(seal), { value: valueOf(carnet, seal), outcome, forgetAt });
  }

  #prune(now) {
    for (const [key, { forgetAt }] of this.#rows) {
      if (forgetAt > now) break; // oldest first, near enough
      this.#rows.delete(key);
    }
  }
}

function keyOf({ iss, jti }) {
  return `${iss} ${jti}`;
}

function valueOf({ sub }, { ty, bh }) {
  return digest(JSON.stringify([sub, ty, bh]));
}
