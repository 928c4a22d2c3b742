// Public and private keys: which are allowed, and how each is named.

import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { calculateJwkThumbprint } from 'jose';
import { KeySetError } from './errors.js';
import { isWeak } from './weakness.js';

const KINDS = new Map([
  ['EC P-256', { alg: 'ES256', members: ['kty', 'crv', 'x', 'y'] }],
  ['OKP Ed25519', { alg: 'EdDSA', members: ['kty', 'crv', 'x'] }],
  ['RSA', { alg: 'RS256', members: ['kty', 'n', 'e'] }],
]);
export const ALGORITHMS = new Set([...KINDS.values()].map(({ alg }) => alg));
const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

/** A public JWK: `{kid, alg, key}`. Throws KeySetError unless it is one that is allowed. */
export async function readPublicKey(jwk, use = 'sig') {
  demand(jwk !== null && typeof jwk === 'object', 'a key is no object');
  const kind = KINDS.get('crv' in jwk ? `${jwk.kty} ${jwk.crv}` : jwk.kty);
  demand(kind !== undefined, 'key type or curve is not allowed');
  demand(PRIVATE.every((name) => !(name in jwk)), 'a private key among the public ones');
  demand(kind.members.every((name) => typeof jwk[name] === 'string'), 'a key lacks a member');
  const members = Object.fromEntries(kind.members.map((name) => [name, jwk[name]]));
  const key = toKey(members);
  demand(!isWeak(members), 'a weak key');
  const said = (name, otherwise) => (name in jwk ? jwk[name] : otherwise);
  const alg = use === 'enc' ? 'ECDH-ES' : kind.alg;
  demand(use === 'sig' || jwk.crv === 'P-256', 'an encryption key is EC P-256');
  demand(said('use', use) === use && said('alg', alg) === alg, 'a key for something else');
  const operations = use === 'sig' ? ['verify'] : [];
  const saidOperations = JSON.stringify(said('key_ops', operations));
  demand(saidOperations === JSON.stringify(operations), 'key_ops for something else');
  const kid = await calculateJwkThumbprint(members);
  demand(said('kid', kid) === kid, 'a kid that is not the thumbprint');
  return { kid, alg, key };
}

function toKey(members) {
  let key;
  try {
    key = createPublicKey({ key: members, format: 'jwk' });
  } catch {
    throw new KeySetError("a key's members do not make a key");
  }
  // "one that is not written in its shortest form" would have two thumbprints.
  const shortest = key.export({ format: 'jwk' });
  const same = Object.entries(members).every(([name, value]) => shortest[name] === value);
  demand(same, 'a key is not in its shortest form');
  return key;
}

/** A private key in PKCS #8 PEM: `{kid, alg, key}`. */
export async function readPrivateKey(path, { passphrase, use = 'sig' } = {}) {
  const key = createPrivateKey({ key: readFileSync(path), passphrase });
  const { kid, alg } = await readPublicKey(createPublicKey(key).export({ format: 'jwk' }), use);
  return { kid, alg, key };
}

function demand(condition, otherwise) {
  if (!condition) throw new KeySetError(otherwise);
}
