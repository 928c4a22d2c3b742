// Publishing with confirms and returns, and consuming, over amqplib.

import { randomBytes, randomUUID } from 'node:crypto';
import amqp from 'amqplib';

const CONFIRM = 10_000; // milliseconds
const MAX_HEADERS = 16 * 1024;

/** A queue name that nobody can guess, of this client's. */
export function ownQueue(client, what) {
  return ['carnet', client, what, randomBytes(16).toString('hex')].filter(Boolean).join('.');
}

export class Broker {
  #returned = new Set();

  static async connect(url, client) {
    const broker = new Broker();
    broker.client = client;
    broker.connection = await amqp.connect(url, { clientProperties: { connection_name: client } });
    broker.closed = new Promise((resolve) => broker.connection.once('close', resolve));
    broker.connection.on('error', () => {}); // `closed` follows
    broker.channel = await broker.connection.createConfirmChannel();
    broker.channel.on('error', () => broker.connection.close().catch(() => {}));
    broker.channel.on('return', ({ properties }) => broker.#returned.add(properties.messageId));
    return broker;
  }

  /** Resolves once the broker holds the message in a queue; rejects where it does not. */
  publish({ exchange, routingKey, type, body, headers, ...properties }) {
    const size = Object.entries(headers).reduce((sum, [name, value]) =>
      sum + Buffer.byteLength(name) + Buffer.byteLength(value), 0);
    if (size > MAX_HEADERS) return Promise.reject(new Error('the headers are too large'));
    const messageId = randomUUID(); // of this attempt; it identifies nothing else
    const options = {
      contentType: 'application/json',
      deliveryMode: 2,
      ...properties,
      messageId,
      type,
      headers,
      appId: this.client,
      timestamp: Math.floor(Date.now() / 1000),
      mandatory: true,
    };
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('not confirmed in time: unknown')), CONFIRM);
      this.channel.publish(exchange, routingKey, body, options, (error) => {
        clearTimeout(late);
        if (error) reject(new Error('the broker does not take it'));
        else if (this.#returned.delete(messageId)) reject(new Error('unroutable'));
        else resolve();
      });
    });
  }

  async close() {
    await this.connection.close().catch(() => {});
  }
}

/** What the verifier judges, of what amqplib hands over. */
export function unverified({ content, properties }) {
  return { body: content, headers: properties.headers ?? {}, type: properties.type };
}
