// Requests: sealed, encrypted where the contract says so; and the one reply that is believed.

import { randomUUID } from 'node:crypto';
import { compactDecrypt, CompactEncrypt } from 'jose';
import { ownQueue, unverified } from './broker.js';
import { rulesOf } from './contracts.js';
import { Refusal, RpcRefused } from './errors.js';
import { parseJsonObject } from './strict.js';

const DEADLINE = 5; // seconds
const JWE = { alg: 'ECDH-ES', enc: 'A256GCM' };

export class Rpc {
  #calls = new Map();

  /** decryption: our own key, for encrypted replies; may be left out. */
  constructor({ broker, sealer, verifier, decryption }) {
    Object.assign(this, { broker, sealer, verifier, decryption });
  }

  /** Listen for replies, on a queue that nobody else knows. */
  async start() {
    this.queue = ownQueue(this.sealer.client);
    const { channel } = this.broker;
    await channel.assertQueue(this.queue, {
      exclusive: true,
      autoDelete: true,
      durable: false,
      arguments: { 'x-queue-type': 'classic' },
    });
    await channel.bindQueue(this.queue, 'carnet.reply', this.queue);
    await channel.consume(this.queue, (message) => message && this.#receive(message), {
      noAck: true,
    });
  }

  /** Ask; the `ok` of the reply. Throws RpcRefused, or an Error where there is none in time. */
  async call(type, request) {
    const { route, receiver, encrypted } = rulesOf(type);
    let body = Buffer.from(JSON.stringify(request));
    if (encrypted) body = await this.#encrypt(body, receiver);
    const correlationId = randomUUID();
    const id = randomUUID();
    const now = Date.now() / 1000;
    const seal = await this.sealer.request({
      route, audience: receiver, id, body, replyTo: this.queue, now, life: DEADLINE,
    });
    const call = { type, receiver, id, encrypted };
    const reply = new Promise((resolve, reject) => Object.assign(call, { resolve, reject }));
    const late = setTimeout(() => call.reject(new Error(`no reply to ${type}`)), DEADLINE * 1000);
    this.#calls.set(correlationId, call);
    try {
      await Promise.all([
        reply,
        this.broker.publish({
          exchange: route.exchange,
          routingKey: route.routingKey,
          type,
          body,
          headers: { 'carnet-seal': seal },
          contentType: encrypted ? 'application/jose' : 'application/json',
          correlationId,
          replyTo: this.queue,
          expiration: String(DEADLINE * 1000),
          deliveryMode: 1,
        }),
      ]);
      return await reply;
    } finally {
      clearTimeout(late);
      this.#calls.delete(correlationId);
    }
  }

  async #receive(message) {
    const call = this.#calls.get(message.properties.correlationId);
    if (call === undefined) return;
    const route = {
      exchange: 'carnet.reply', routingKey: this.queue, type: `${call.type}.reply`,
    };
    const wanted = { route, responder: call.receiver, requestId: call.id };
    try {
      await this.verifier.reply(unverified(message), wanted, Date.now() / 1000);
      const body = call.encrypted ? await this.#decrypt(message.content) : message.content;
      const { ok, error } = parseJsonObject(body);
      if (error == null) call.resolve(ok);
      else call.reject(new RpcRefused(error));
    } catch (error) {
      // A forged one is dropped, and the genuine one still waited for.
      if (!(error instanceof Refusal)) call.reject(error);
    }
  }

  async #encrypt(body, receiver) {
    const enc = this.verifier.trust.keySet.clients.get(receiver)?.enc;
    if (enc == null) throw new Error(`no encryption key of ${receiver} is listed`);
    const jwe = await new CompactEncrypt(body)
      .setProtectedHeader({ ...JWE, kid: enc.kid })
      .encrypt(enc.key);
    return Buffer.from(jwe, 'ascii');
  }

  async #decrypt(body) {
    const { plaintext, protectedHeader } = await compactDecrypt(
      body.toString('latin1'),
      this.decryption.key,
      { keyManagementAlgorithms: [JWE.alg], contentEncryptionAlgorithms: [JWE.enc] },
    );
    const exactly = Object.keys(protectedHeader).sort().join() === 'alg,enc,epk,kid';
    if (!exactly || protectedHeader.kid !== this.decryption.kid) throw new Error('another JWE');
    return plaintext;
  }
}
