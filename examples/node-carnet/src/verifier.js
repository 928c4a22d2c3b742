// The checks on a message, in the order of docs/wire-contract.md. The inbox, check 13, is apart.

import { refuse, Refusal } from './errors.js';
import { LEEWAY } from './keyset.js';
import { digest, TYP, UnverifiedToken } from './tokens.js';

const BEARER = 'Bearer ';
const CARNET_LIFE = 300;
const REQUEST_AGE = 120;

/**
 * Judges what comes in for one receiving service.
 *
 * A message: `{body: Buffer, headers: object, type: string}`, as it lies on the broker.
 * trust: `{keySet, revocations, requireFresh(now)}`.
 */
export class Verifier {
  constructor(trust, { audience }) {
    this.trust = trust;
    this.audience = audience;
  }

  /** A command, under its rules (contracts.js): `{carnet, seal}`, or a Refusal is thrown. */
  async command(message, rules, now) {
    refuseCopies(message);
    const carnet = new UnverifiedToken(bearer(onlyHeader(message, 'authorization'))); // 1
    const seal = new UnverifiedToken(onlyHeader(message, 'carnet-seal'));
    const both = [carnet, seal];
    for (const token of both) token.takeApart(); // 2
    for (const token of both) token.readHeader(); // 3
    carnet.checkAlgorithm(TYP.carnet); // 4
    seal.checkAlgorithm(TYP.seal);
    this.#useIssuerKey(carnet, now); // 5
    const owner = this.#useClientKey(seal, now);
    for (const token of both) await token.checkSignature(); // 6
    for (const token of both) token.readClaims(); // 7
    carnet.checkSigningTime();
    checkOwner(seal.claims, owner);
    seal.checkSigningTime();
    this.#checkIssued(carnet.claims); // 8
    if (seal.claims.iss !== sealingClient(carnet.claims)) { // 9
      refuse('wrong_client', "not sealed by the carnet's own client");
    }
    if (seal.claims.ath !== digest(carnet.text)) refuse('seal_mismatch', 'with another carnet');
    this.#checkPublishes(seal.claims);
    checkBinding(seal.claims, message, rules.route, 'cmd', this.audience);
    const genuine = { carnet: carnet.claims, seal: seal.claims };
    try {
      this.#admit(genuine, rules, now);
    } catch (error) {
      if (error instanceof Refusal) error.authenticated = genuine;
      throw error;
    }
    return genuine;
  }

  /** An event: `{seal}`. */
  async event(message, rules, now) {
    refuseCopies(message);
    const seal = await this.#sealed(message, now);
    this.#checkPublishes(seal);
    if (this.trust.keySet.publishersOf(seal.ty) > 1) {
      refuse('ambiguous_publisher', 'what has happened, one client alone records');
    }
    checkBinding(seal, message, rules.route, 'evt', undefined);
    if (seal.sub == null || seal.cause == null) refuse('seal_mismatch', 'no subject or no cause');
    checkSealTime(seal, rules.maxAge, now);
    this.trust.requireFresh(now);
    return { seal };
  }

  /** The reply to a request that we sent: `{seal}`. */
  async reply(message, { route, responder, requestId }, now) {
    refuseCopies(message);
    const seal = await this.#sealed(message, now);
    if (seal.iss !== responder) refuse('wrong_client', 'not by the service that was asked');
    checkBinding(seal, message, route, 'rep', this.audience);
    if (seal.re !== requestId) refuse('seal_mismatch', 'the reply to another request');
    checkSealTime(seal, REQUEST_AGE, now);
    return { seal };
  }

  async #sealed(message, now) {
    const seal = new UnverifiedToken(onlyHeader(message, 'carnet-seal'));
    seal.takeApart();
    seal.readHeader();
    seal.checkAlgorithm(TYP.seal);
    const owner = this.#useClientKey(seal, now);
    await seal.checkSignature();
    seal.readClaims();
    checkOwner(seal.claims, owner);
    seal.checkSigningTime();
    return seal.claims;
  }

  #useIssuerKey(token, now) {
    this.trust.keySet.requireCurrent(now);
    const listed = this.trust.keySet.issuerKeys.get(token.header.kid);
    if (listed === undefined) this.#refuseUnknown(now);
    token.useKey(listed);
  }

  /** The key says which client sealed it; returns that one. */
  #useClientKey(token, now) {
    const { keySet } = this.trust;
    keySet.requireCurrent(now);
    const owner = keySet.owners.get(token.header.kid);
    if (owner === undefined) this.#refuseUnknown(now);
    token.useKey(keySet.clients.get(owner).keys.get(token.header.kid));
    return owner;
  }

  /** Only under a fresh feed is a key unknown; else we have not heard of it yet. */
  #refuseUnknown(now) {
    this.trust.requireFresh(now);
    refuse('unknown_key', "kid is not among this signer's keys");
  }

  #checkIssued(carnet) {
    if (carnet.iss !== this.trust.keySet.issuer) refuse('wrong_issuer', 'iss is not our issuer');
    if (carnet.aud !== this.audience) refuse('wrong_audience', `aud is not ${this.audience}`);
  }

  #checkPublishes(seal) {
    if (!this.trust.keySet.clients.get(seal.iss)?.publishes.has(seal.ty)) {
      refuse('type_not_allowed', 'the statement does not give its client this type');
    }
  }

  /** Checks 10 to 12: may it be done, now? */
  #admit({ carnet, seal }, rules, now) {
    checkSealTime(seal, rules.maxAge, now);
    if (Math.max(carnet.iat, carnet.nbf ?? 0) > now + LEEWAY) refuse('not_yet_valid', 'the carnet');
    if (carnet.exp <= carnet.iat || carnet.exp - carnet.iat > CARNET_LIFE) {
      refuse('lifetime_too_long', `a carnet lives ${CARNET_LIFE} s at most`);
    }
    if (seal.iat < carnet.iat - LEEWAY) refuse('not_yet_valid', 'sealed before its carnet');
    if (seal.iat > carnet.exp) refuse('expired', 'the carnet was, when the work was accepted');
    if (rules.judgedNow && now > carnet.exp + LEEWAY) refuse('expired', 'the carnet is');
    this.trust.requireFresh(now); // 11
    this.trust.revocations.check(carnet);
    if (namedClients(carnet).some((client) => !this.trust.keySet.clients.has(client))) {
      refuse('revoked', 'its client was withdrawn by the trust root');
    }
    const scopes = carnet.scope.split(' '); // 12
    const lacking = rules.scopes.filter((scope) => !scopes.includes(scope));
    if (lacking.length > 0) refuse('insufficient_scope', `the carnet lacks: ${lacking.join(' ')}`);
  }
}

function refuseCopies({ headers }) {
  const names = Object.keys(headers).map((name) => name.toLowerCase());
  if (names.includes('cc') || names.includes('bcc')) refuse('forbidden_header', 'CC or BCC');
}

/** Header names are lower case, and a second spelling must not hide another value. */
function onlyHeader({ headers }, name) {
  const found = Object.keys(headers).filter((each) => each.toLowerCase() === name);
  if (found.length > 1) refuse('duplicate_token', `more than one ${name}`);
  if (found[0] !== name || typeof headers[name] !== 'string') {
    refuse('missing_token', `no header ${name} that is a string`);
  }
  return headers[name];
}

function bearer(authorization) {
  if (!authorization.startsWith(BEARER)) refuse('missing_token', 'not Bearer <carnet>');
  return authorization.slice(BEARER.length);
}

function serviceOf(subject) {
  return subject.startsWith('service:') ? subject.slice('service:'.length) : undefined;
}

/** The one client that may seal with this carnet: its actor, or the service it speaks for. */
function sealingClient(carnet) {
  return carnet.act == null ? serviceOf(carnet.sub) : carnet.act.sub;
}

function namedClients(carnet) {
  const named = [serviceOf(carnet.sub)];
  for (let actor = carnet.act; actor != null; actor = actor.act) named.push(actor.sub);
  return named.filter((client) => client !== undefined);
}

function checkOwner(seal, owner) {
  if (seal.iss !== owner) refuse('unknown_key', "kid is not among this signer's keys");
}

function checkBinding(seal, message, route, kind, audience) {
  if (seal.k !== kind) refuse('seal_mismatch', `sealed as another kind than ${kind}`);
  if ((seal.aud ?? undefined) !== audience) refuse('seal_mismatch', 'for another receiver');
  // The route that we registered: the delivery's own differs after a retry and proves nothing.
  const sealed = [seal.ex, seal.rk, seal.ty];
  const wanted = [route.exchange, route.routingKey, route.type];
  if (sealed.some((each, at) => each !== wanted[at])) refuse('seal_mismatch', 'another route');
  if (message.type !== seal.ty) refuse('seal_mismatch', 'the type beside the seal is another');
  if (seal.bh !== digest(message.body)) refuse('seal_mismatch', 'sealed over another body');
}

function checkSealTime(seal, maxAge, now) {
  if (Math.max(seal.iat, seal.nbf ?? 0) > now + LEEWAY) refuse('not_yet_valid', 'the seal');
  if (seal.exp < seal.iat || seal.exp - seal.iat > maxAge) {
    refuse('lifetime_too_long', `sealed for longer than ${maxAge} s`);
  }
  if (now > seal.exp + LEEWAY) refuse('too_old', 'the work has waited for too long');
}
