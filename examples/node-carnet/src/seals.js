// The seal: what binds a carnet, a body and a route into one message of one client.

import { digest, sign, TYP } from './tokens.js';

export class Sealer {
  constructor(client, key) {
    this.client = client;
    this.key = key;
  }

  /** `now`: when the work was accepted; `life`: seconds until it is not wanted any more. */
  command({ route, audience, id, body, carnet, now, life }) {
    return this.#seal('cmd', route, body, now, life, { aud: audience, jti: id, ath: digest(carnet) });
  }

  request({ route, audience, id, body, replyTo, now, life }) {
    return this.#seal('req', route, body, now, life, { aud: audience, jti: id, rt: replyTo });
  }

  #seal(k, route, body, now, life, claims) {
    const { exchange: ex, routingKey: rk, type: ty } = route;
    const [iat, exp] = [Math.ceil(now), Math.ceil(now + life)];
    const all = { k, iss: this.client, ...claims, iat, exp, bh: digest(body), ex, rk, ty };
    return sign(all, TYP.seal, this.key);
  }
}
