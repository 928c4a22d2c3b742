// Takes the place of the order service at its queue: verifies each command, and prints it.

import { setTimeout as pause } from 'node:timers/promises';
import { Broker } from 'carnet-node/broker.js';
import { readPrivateKey } from 'carnet-node/keys.js';
import { Inbox } from 'carnet-node/inbox.js';
import { Rpc } from 'carnet-node/rpc.js';
import { Sealer } from 'carnet-node/seals.js';
import { say, setting } from 'carnet-node/settings.js';
import { LiveTrust, readTrust } from 'carnet-node/trust.js';
import { Verifier } from 'carnet-node/verifier.js';
import { Consumer } from './consumer.js';

const client = setting('CARNET_CLIENT', 'order-service');
const queue = setting('CARNET_QUEUE', 'orders.commands');
const keptAt = `${setting('CARNET_TRUST_STATE')}/key-set.jwt`;

const files = await readTrust(setting('CARNET_TRUST_ROOT'), setting('CARNET_KEY_SET'), keptAt);
const trust = new LiveTrust(files, keptAt);
const passphrase = process.env.CARNET_KEY_PASSPHRASE;
const key = await readPrivateKey(`${setting('CARNET_KEYS')}/seal.pem`, { passphrase });
const sealer = new Sealer(client, key);
const verifier = new Verifier(trust, { audience: client });
const consumer = new Consumer({ client, queue, trust, verifier, inbox: new Inbox() });

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());

while (!stop.signal.aborted) {
  try {
    await serve();
  } catch (error) {
    say('disconnected', { why: error.message });
  }
  // Full jitter: not all at once when the broker is back.
  if (!stop.signal.aborted) await pause(Math.random() * 2000);
}

/** Work over one connection, until it is lost or we are to stop. */
async function serve() {
  const broker = await Broker.connect(setting('CARNET_AMQP_URL'), client);
  const ended = new AbortController();
  const either = AbortSignal.any([stop.signal, ended.signal]);
  broker.closed.then(() => ended.abort());
  try {
    const rpc = new Rpc({ broker, sealer, verifier });
    await rpc.start();
    await Promise.all([trust.follow(broker, rpc, either), consumer.run(broker, either)]);
  } finally {
    ended.abort();
    await broker.close();
  }
}
