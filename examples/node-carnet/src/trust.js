// The trust feed on the wire: listens first, then asks for what is missing.

import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ownQueue } from './broker.js';
import { KeySetError, Refusal, RpcRefused, TrustUnavailable } from './errors.js';
import { Feed } from './feed.js';
import { TrustRoot } from './keyset.js';

const LOOK = 250; // milliseconds between looks at what is missing
const COOLDOWN = 1000; // between two questions
const PRUNE = 60_000;

const now = () => Date.now() / 1000;
const ticks = () => performance.now() / 1000;

/** Trust as files say it: `{root, keySet}`, the newer of two statements. */
export async function readTrust(rootPath, ...statementPaths) {
  const root = await TrustRoot.read(readFileSync(rootPath));
  const found = [];
  for (const path of statementPaths) {
    try {
      found.push(await root.verify(readFileSync(path, 'ascii'), now()));
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
  }
  if (found.length === 0) throw new KeySetError('there is no key set statement');
  return { root, keySet: found.reduce((held, each) => (each.supersedes(held) ? each : held)) };
}

/** A trust source that follows the issuer. */
export class LiveTrust {
  #feed;
  #keptAt;
  #kept;

  /** keptAt: where the newest statement is kept, to be begun with after a restart. */
  constructor({ root, keySet }, keptAt) {
    this.#feed = new Feed(root, keySet);
    this.#keptAt = keptAt;
    this.#kept = keySet;
    setInterval(() => this.#feed.revocations.prune(now()), PRUNE).unref();
  }

  get keySet() {
    return this.#feed.keySet;
  }

  get revocations() {
    return this.#feed.revocations;
  }

  requireFresh() {
    this.#feed.requireFresh(now(), ticks());
  }

  /** Wait until something may be judged; `why` is told while it may not. */
  async whenFresh(signal, why = () => {}) {
    for (let told; !signal.aborted; await pause(LOOK)) {
      try {
        return this.requireFresh();
      } catch (error) {
        if (!(error instanceof TrustUnavailable)) throw error;
        if (error.message !== told) why(error.message);
        told = error.message;
      }
    }
  }

  /** Follow the issuer over this connection until it is lost, or `signal` aborts. */
  async follow(broker, rpc, signal) {
    const queue = ownQueue(broker.client, 'trust');
    await broker.channel.assertQueue(queue, {
      durable: true,
      arguments: {
        'x-queue-type': 'quorum',
        'x-quorum-initial-group-size': 3,
        'x-delivery-limit': 2_000_000_000,
        'x-expires': 60_000,
      },
    });
    await broker.channel.bindQueue(queue, 'carnet.trust', '');
    let order = Promise.resolve(); // one statement after the other
    await broker.channel.consume(queue, (message) => {
      if (message === null) return;
      order = order.then(() => this.#hear(message.content.toString('latin1')));
      order = order.then(() => broker.channel.ack(message)).catch(() => broker.close());
    });
    this.#feed.loseTrack(ticks()); // only now: what is told from here on is heard
    let lost = false;
    broker.closed.then(() => { lost = true; });
    while (!lost && !signal.aborted) {
      const { after, keySet } = this.#feed.wanted(ticks());
      if (after === undefined && !keySet) await pause(LOOK);
      else {
        await this.#ask(rpc, keySet).catch(passing);
        await pause(COOLDOWN * (0.8 + 0.2 * Math.random()));
      }
    }
  }

  async #hear(text) {
    await this.#feed.hear(text, now(), ticks()).catch(passing);
    this.#keep();
  }

  async #ask(rpc, keySet) {
    if (keySet) {
      const { statement } = await rpc.call('users.key_set.v1', {});
      await this.#feed.adopt(statement, now(), ticks());
      this.#keep();
    }
    let { after } = this.#feed.wanted(ticks());
    while (after !== undefined) {
      const [askedAt, tick] = [now(), ticks()];
      const { snapshot } = await rpc.call('users.revocations.v1', { after });
      const more = await this.#feed.takeSnapshot(snapshot, askedAt, tick);
      after = more ? this.#feed.applied : undefined;
    }
  }

  /** On disk, so that a restart does not begin with a set that was replaced. */
  #keep() {
    const { keySet } = this.#feed;
    if (this.#keptAt === undefined || keySet === this.#kept) return;
    mkdirSync(dirname(this.#keptAt), { recursive: true, mode: 0o700 });
    writeFileSync(`${this.#keptAt}.new`, keySet.text);
    renameSync(`${this.#keptAt}.new`, this.#keptAt);
    this.#kept = keySet;
  }
}

/** What somebody else got wrong, or what another try may get: anything else is a bug. */
function passing(error) {
  const known = [Refusal, KeySetError, RpcRefused];
  if (known.some((kind) => error instanceof kind) || error.constructor === Error) return;
  throw error;
}
