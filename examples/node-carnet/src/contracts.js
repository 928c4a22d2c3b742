// The published documents: which message goes where, under which rules, of which form.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

const FOLDER = process.env.CARNET_CONTRACTS
  ?? fileURLToPath(new URL('../../../docs/contracts', import.meta.url));

const asyncapi = read('asyncapi.json');

/** The claims of one kind of token, as a JSON Schema. */
export function claimsSchema(token) {
  const { allOf, ...schema } = read(`claims/${token}.json`);
  return schema; // what each kind of message adds to a seal (`allOf`) is check 9
}

/** The body of one type of message, as a JSON Schema. */
export function bodySchema(type) {
  return read(`schemas/${type}.json`);
}

/** What is demanded of messages of this type. Times are in seconds. */
export function rulesOf(type) {
  const message = asyncapi.components.messages[type];
  if (message === undefined) throw new TypeError(`no such type of message: ${type}`);
  const rules = message['x-carnet'];
  return {
    route: { exchange: rules.exchange, routingKey: rules.routing_key, type },
    receiver: rules.receivers[0],
    scopes: rules.scopes,
    judgedNow: rules.carnet_judged === 'at_processing',
    maxAge: rules.max_age,
    encrypted: rules.encrypted,
    body: bodySchema(type),
  };
}

/** The commands that a service takes. */
export function commandsOf(service) {
  return Object.entries(asyncapi.components.messages)
    .filter(([, { 'x-carnet': rules }]) => rules.kind === 'cmd' && rules.receivers.includes(service))
    .map(([type]) => type);
}

function read(name) {
  return JSON.parse(readFileSync(join(FOLDER, name), 'utf8'));
}
