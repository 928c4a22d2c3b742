// An access token by client credentials: RFC 6749 §4.4 with a signed assertion, RFC 7523 §2.2.

import { randomUUID } from 'node:crypto';
import { sign, TYP } from 'carnet-node/tokens.js';

const WITHIN = 10_000; // milliseconds
const KIND = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

/** The answer of the token endpoint that the gateway's metadata name (RFC 8414). */
export async function accessToken(gateway, client, key, scope) {
  const metadata = await ask(`${gateway}/.well-known/oauth-authorization-server`);
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: client, sub: client, aud: metadata.issuer, jti: randomUUID(), iat: now, exp: now + 60,
  };
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    scope,
    client_assertion_type: KIND,
    client_assertion: await sign(claims, TYP.assertion, key),
  });
  return ask(metadata.token_endpoint, { method: 'POST', body: form });
}

async function ask(url, request = {}) {
  const answer = await fetch(url, { ...request, signal: AbortSignal.timeout(WITHIN) });
  const body = await answer.json();
  if (!answer.ok) throw new Error(`${url}: ${body.error ?? answer.status}`);
  return body;
}
