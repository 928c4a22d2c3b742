// Judges messages as examples/node-carnet does: an array of scenes in, an array of verdicts out.

import { readFileSync } from 'node:fs';
import { KeySetError, Refusal, TrustUnavailable } from '../../examples/node-carnet/src/errors.js';
import { Revocations } from '../../examples/node-carnet/src/feed.js';
import { readPublicKey } from '../../examples/node-carnet/src/keys.js';
import { TrustRoot } from '../../examples/node-carnet/src/keyset.js';
import { Verifier } from '../../examples/node-carnet/src/verifier.js';

const JUDGES = {
  command: message,
  event: message,
  key: ({ jwk }) => readPublicKey(jwk),
  encryption: ({ jwk }) => readPublicKey(jwk, 'enc'),
  root: ({ root }) => TrustRoot.read(Buffer.from(root, 'base64')),
  statement: async ({ root, statement, now }) =>
    (await TrustRoot.read(Buffer.from(root))).verify(statement, now),
};

const verdicts = [];
for (const scene of JSON.parse(readFileSync(0, 'utf8'))) verdicts.push(await judge(scene));
process.stdout.write(JSON.stringify(verdicts));

async function judge(scene) {
  try {
    await JUDGES[scene.kind](scene);
    return 'accepted';
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    if (error instanceof TrustUnavailable) return 'trust_unavailable';
    if (error instanceof KeySetError) return 'key_set';
    throw error;
  }
}

async function message({ root, statement, revoked, audience, message, kind, rules, now }) {
  const keySet = await (await TrustRoot.read(Buffer.from(root))).verify(statement, now);
  const revocations = new Revocations();
  for (const each of revoked) revocations.add(each);
  const verifier = new Verifier({ keySet, revocations, requireFresh: () => {} }, { audience });
  await verifier[kind]({ ...message, body: Buffer.from(message.body, 'base64') }, rules, now);
}
