// One delivery after the other: verified, handled once, settled.

import { once } from 'node:events';
import { unverified } from 'carnet-node/broker.js';
import { commandsOf, rulesOf } from 'carnet-node/contracts.js';
import { refuse, Refusal, TrustUnavailable } from 'carnet-node/errors.js';
import { faults } from 'carnet-node/schema.js';
import { say } from 'carnet-node/settings.js';
import { parseJsonObject } from 'carnet-node/strict.js';

const PREFETCH = 20;
const MAX_BODY = 256 * 1024;
const MAX_DETAIL = 500;
const COPIED = /^(authorization|traceparent|tracestate|carnet-.*)$/i;
const MAX_COPIED = 15 * 1024; // bytes: all headers together have 16 KiB

export class Consumer {
  constructor({ client, queue, trust, verifier, inbox }) {
    Object.assign(this, { client, queue, trust, verifier, inbox });
    this.rules = new Map(commandsOf(client).map((type) => [type, rulesOf(type)]));
  }

  /** Consume over this connection until `signal` aborts; finish what has begun. */
  async run(broker, signal) {
    await this.trust.whenFresh(signal, (why) => say('waiting', { why }));
    if (signal.aborted) return;
    await broker.channel.prefetch(PREFETCH);
    let work = Promise.resolve();
    const { consumerTag } = await broker.channel.consume(this.queue, (message) => {
      if (message === null) broker.close(); // the queue is gone
      else work = work.then(() => this.#settle(broker, message, signal)).catch((error) => {
        say('unsettled', { why: error.message });
        return broker.close(); // the broker delivers it again
      });
    });
    say('ready', { queue: this.queue });
    if (!signal.aborted) await once(signal, 'abort');
    await broker.channel.cancel(consumerTag).catch(() => {});
    await work; // what was not begun goes back to the queue with the channel
  }

  async #settle(broker, message, signal) {
    if (signal.aborted) return;
    try {
      await this.#handle(message, signal);
    } catch (error) {
      if (error instanceof TrustUnavailable) return; // we are to stop: the broker keeps it
      if (!(error instanceof Refusal)) throw error;
      await broker.publish(this.#deadLetter(message, error));
    }
    broker.channel.ack(message); // only once the broker holds what takes its place
  }

  /** Judge, and judge again while nothing can be judged: that is nobody's fault. */
  async #handle(message, signal) {
    for (;;) {
      try {
        return await this.#handleNow(message);
      } catch (error) {
        if (!(error instanceof TrustUnavailable) || signal.aborted) throw error;
        await this.trust.whenFresh(signal, (why) => say('waiting', { why }));
      }
    }
  }

  async #handleNow(message) {
    const now = Date.now() / 1000;
    let genuine;
    try {
      const rules = this.rules.get(message.properties.type);
      if (rules === undefined) refuse('unknown_type', 'no handler for this type');
      genuine = await this.verifier.command(unverified(message), rules, now);
      const before = this.inbox.find(genuine);
      if (before?.code !== undefined) throw new Refusal(before.code, before.detail);
      if (before !== undefined) {
        say('repeated', { id: genuine.seal.jti });
        return;
      }
      this.#perform(genuine, read(message.content, rules));
      this.inbox.add(genuine, {}, now);
    } catch (error) {
      if (error instanceof Refusal) this.#note(error, genuine ?? error.authenticated, now);
      throw error;
    }
  }

  /** The effect of a command. A service has its own here, in the inbox row's transaction. */
  #perform({ carnet, seal }, command) {
    const { sub: subject, act, scope } = carnet;
    const actors = [];
    for (let actor = act; actor != null; actor = actor.act) actors.push(actor.sub);
    say('accepted', { type: seal.ty, id: seal.jti, subject, actors, scope, command });
  }

  /** Only what is known to be genuine is written down: nobody's id is taken by a forgery. */
  #note({ code, detail }, genuine, now) {
    say('refused', { code, detail, genuine: Boolean(genuine) });
    if (genuine && code !== 'id_reused') this.inbox.add(genuine, { code, detail }, now);
  }

  #deadLetter({ content, properties }, { code, detail }) {
    const headers = {
      'carnet-reason': code,
      'carnet-detail': detail.slice(0, MAX_DETAIL),
      'carnet-queue': this.queue,
      'carnet-service': this.client,
      'carnet-failed-at': `${new Date().toISOString().slice(0, 19)}Z`,
    };
    const omitted = [];
    let room = MAX_COPIED;
    for (const [name, value] of Object.entries(properties.headers ?? {})) {
      if (!COPIED.test(name) || name in headers) continue;
      const size = typeof value === 'string' ? name.length + Buffer.byteLength(value) : Infinity;
      if (size > room) omitted.push(name);
      else {
        headers[name] = value;
        room -= size;
      }
    }
    if (omitted.length > 0) headers['carnet-omitted'] = omitted.join(', ').slice(0, 200);
    return {
      exchange: 'carnet.dead',
      routingKey: `${this.queue}.dead`,
      type: properties.type,
      contentType: properties.contentType,
      body: content,
      headers,
    };
  }
}

function read(content, rules) {
  let body;
  if (content.length > MAX_BODY) refuse('invalid_body', `more than ${MAX_BODY} bytes`);
  try {
    body = parseJsonObject(content);
  } catch (error) {
    refuse('invalid_body', error.message);
  }
  const wrong = faults(body, rules.body);
  if (wrong.length > 0) refuse('invalid_body', wrong.join(', '));
  return body;
}
