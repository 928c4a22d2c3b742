// Who may do what: the key set statement, believed only under the trust root's signature.

import { KeySetError, Refusal, TrustUnavailable } from './errors.js';
import { readPublicKey } from './keys.js';
import { parseJsonObject } from './strict.js';
import { MAX_STATEMENT, TYP, UnverifiedToken } from './tokens.js';

export const LEEWAY = 30; // seconds by which clocks may differ

export class TrustRoot {
  #keys;

  constructor(keys) {
    this.#keys = new Map(keys.map((key) => [key.kid, key]));
    if (this.#keys.size < 1 || this.#keys.size > 2) throw new KeySetError('one key or two');
  }

  /** Read `{"keys": [JWK]}`. */
  static async read(bytes) {
    let keys;
    try {
      ({ keys } = parseJsonObject(bytes));
    } catch (error) {
      throw new KeySetError(`the trust root is refused: ${error.message}`);
    }
    if (!Array.isArray(keys)) throw new KeySetError('the trust root is not {"keys": […]}');
    return new TrustRoot(await Promise.all(keys.map((jwk) => readPublicKey(jwk))));
  }

  /** Believe a statement, whoever handed it over; or throw KeySetError. */
  async verify(text, now) {
    const token = new UnverifiedToken(text.trim(), { limit: MAX_STATEMENT });
    try {
      token.takeApart();
      token.readHeader();
      token.checkAlgorithm(TYP.keySet);
      const key = this.#keys.get(token.header.kid);
      if (key === undefined) throw new KeySetError("not signed by the trust root");
      token.useKey(key);
      await token.checkSignature();
      token.readClaims();
    } catch (error) {
      throw error instanceof Refusal ? new KeySetError(error.message) : error;
    }
    if (token.claims.iat > now + LEEWAY) throw new KeySetError('a statement of the future');
    if (token.claims.exp < now - LEEWAY) throw new KeySetError('the statement is expired');
    return KeySet.of(token, new Set(this.#keys.keys()));
  }
}

export class KeySet {
  /** `seen`: keys that have their place already, the root's. */
  static async of({ text, claims }, seen) {
    const set = new KeySet();
    set.text = text;
    set.version = claims.version;
    set.expiresAt = claims.exp;
    set.issuer = claims.issuer.iss;
    set.issuerKeys = await listKeys(claims.issuer.keys, seen);
    if (set.issuerKeys.size === 0) throw new KeySetError('no key of the issuer is listed');
    set.clients = new Map();
    set.owners = new Map(); // client by kid
    for (const [id, client] of Object.entries(claims.clients)) {
      const enc = client.enc == null ? null : await readPublicKey(client.enc, 'enc');
      if (enc !== null) see(enc.kid, seen);
      const keys = await listKeys(client.keys, seen);
      for (const kid of keys.keys()) set.owners.set(kid, id);
      set.clients.set(id, { keys, enc, publishes: new Set(client.publishes) });
    }
    return set;
  }

  /** Whether it is to take the place of `held`; throws where one of the two is a lie. */
  supersedes(held) {
    if (this.version < held.version) throw new KeySetError(`older than ${held.version}`);
    // What was signed, without the signature: of that, anyone can make another that holds too.
    if (this.version === held.version && signed(this.text) !== signed(held.text)) {
      throw new KeySetError(`two statements claim to be version ${this.version}`);
    }
    return this.version > held.version;
  }

  requireCurrent(now) {
    if (now > this.expiresAt) throw new TrustUnavailable('the key set statement is expired');
  }

  /** How many clients may seal this type. */
  publishersOf(type) {
    return [...this.clients.values()].filter(({ publishes }) => publishes.has(type)).length;
  }
}

async function listKeys(keys, seen) {
  const listed = new Map();
  for (const jwk of keys) {
    const key = await readPublicKey(jwk);
    if ((jwk.state === 'retired') !== (jwk.retired_at != null)) {
      throw new KeySetError('a key is retired if, and only if, it has retired_at');
    }
    see(key.kid, seen);
    listed.set(key.kid, { ...key, retiredAt: jwk.retired_at ?? undefined });
  }
  return listed;
}

/** "A statement that lists a key twice, or the root's own, is void." */
function see(kid, seen) {
  if (seen.has(kid)) throw new KeySetError('a key is listed twice');
  seen.add(kid);
}

function signed(text) {
  return text.slice(0, text.lastIndexOf('.'));
}
