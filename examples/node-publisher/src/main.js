// A service's own order: a token, a carnet, a seal, and a message that the order service accepts.
//
//   node src/main.js '{"currency": "EUR", "lines": [{"sku": "tea", "quantity": 1, "unit_price": "4.20"}]}'

import { randomUUID } from 'node:crypto';
import { Broker } from 'carnet-node/broker.js';
import { rulesOf } from 'carnet-node/contracts.js';
import { readPrivateKey } from 'carnet-node/keys.js';
import { Rpc } from 'carnet-node/rpc.js';
import { Sealer } from 'carnet-node/seals.js';
import { say, setting } from 'carnet-node/settings.js';
import { readTrust } from 'carnet-node/trust.js';
import { Verifier } from 'carnet-node/verifier.js';
import { accessToken } from './tokens.js';

const PLACE = 'orders.place.v1';
const SCOPE = 'orders:write';

const client = setting('CARNET_CLIENT', 'order-importer');
const order = JSON.parse(setting('CARNET_ORDER', process.argv[2]));
const keys = setting('CARNET_KEYS');
const passphrase = process.env.CARNET_KEY_PASSPHRASE;
const sealing = await readPrivateKey(`${keys}/seal.pem`, { passphrase });
const decryption = await readPrivateKey(`${keys}/enc.pem`, { passphrase, use: 'enc' });
// It judges nothing but replies to its own questions, so it needs no trust feed.
const files = await readTrust(setting('CARNET_TRUST_ROOT'), setting('CARNET_KEY_SET'));
const trust = { keySet: files.keySet, requireFresh: () => {} };

const sealer = new Sealer(client, sealing);
const verifier = new Verifier(trust, { audience: client });
const broker = await Broker.connect(setting('CARNET_AMQP_URL'), client);
try {
  const rpc = new Rpc({ broker, sealer, verifier, decryption });
  await rpc.start();
  const token = await accessToken(setting('CARNET_GATEWAY_URL'), client, sealing, SCOPE);
  say('access token', { scope: token.scope, expires_in: token.expires_in });
  const { route, receiver, maxAge } = rulesOf(PLACE);
  const { carnet, scope } = await rpc.call('users.exchange.v1', {
    subject_token: token.access_token, audience: receiver, scope: SCOPE,
  });
  say('carnet', { audience: receiver, scope });
  const id = randomUUID(); // the order's id as well
  const body = Buffer.from(JSON.stringify(order));
  const seal = await sealer.command({
    route, audience: receiver, id, body, carnet, now: Date.now() / 1000, life: maxAge,
  });
  await broker.publish({
    exchange: route.exchange,
    routingKey: route.routingKey,
    type: route.type,
    body,
    headers: { authorization: `Bearer ${carnet}`, 'carnet-seal': seal },
  });
  say('published', { type: PLACE, id });
} finally {
  await broker.close();
}
