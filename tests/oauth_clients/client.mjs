// oauth4webapi as its documentation has it, against a gateway of which it knows the address alone.
// Reads JSON from standard input; says in JSON on standard output what it got.
import "./webcrypto.mjs"; // first
import { text } from "node:stream/consumers";
import * as oauth from "oauth4webapi";

const { issuer, user, password, callback, app, device, service, audience } = JSON.parse(
  await text(process.stdin),
);

const plain = { [oauth.allowInsecureRequests]: true }; // the tests' gateway has no certificate
const said = {};

const server = await oauth.processDiscoveryResponse(
  new URL(issuer),
  await oauth.discoveryRequest(new URL(issuer), { algorithm: "oauth2", ...plain }),
);

// ---- an app: authorization code with PKCE, refresh, revocation

const client = { client_id: app };
const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();
const address = new URL(server.authorization_endpoint);
address.search = new URLSearchParams({
  client_id: app,
  redirect_uri: callback,
  response_type: "code",
  scope: "orders:read",
  state,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
});
const back = await signIn(address);
const parameters = oauth.validateAuthResponse(server, client, new URL(back), state);
const tokens = await oauth.processAuthorizationCodeResponse(
  server,
  client,
  await oauth.authorizationCodeGrantRequest(
    server, client, oauth.None(), parameters, callback, verifier, plain,
  ),
);
said.code = tokens.scope;

const renewed = await oauth.processRefreshTokenResponse(
  server,
  client,
  await oauth.refreshTokenGrantRequest(
    server, client, oauth.None(), tokens.refresh_token, plain,
  ),
);
said.refresh = renewed.scope;

const orders = await oauth.protectedResourceRequest(
  renewed.access_token, "GET", new URL("/v1/orders", issuer), undefined, undefined, plain,
);
said.orders = orders.status;

await oauth.processRevocationResponse(
  await oauth.revocationRequest(server, client, oauth.None(), renewed.refresh_token, plain),
);
try {
  await oauth.processRefreshTokenResponse(
    server,
    client,
    await oauth.refreshTokenGrantRequest(
      server, client, oauth.None(), renewed.refresh_token, plain,
    ),
  );
} catch (error) {
  said.revoked = error.error;
}

// ---- a device

const tv = { client_id: device };
const codes = await oauth.processDeviceAuthorizationResponse(
  server,
  tv,
  await oauth.deviceAuthorizationRequest(
    server, tv, oauth.None(), { scope: "orders:read" }, plain,
  ),
);
const poll = async () =>
  oauth.processDeviceCodeResponse(
    server,
    tv,
    await oauth.deviceCodeGrantRequest(server, tv, oauth.None(), codes.device_code, plain),
  );
try {
  await poll();
} catch (error) {
  said.pending = error.error;
}
await allow(codes);
said.device = (await poll()).scope;

// ---- a service: client credentials by private_key_jwt, token exchange, introspection

const worker = { client_id: service.client_id };
const key = await crypto.subtle.importKey(
  "jwk", service.key, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"],
);
const proof = oauth.PrivateKeyJwt({ key, kid: service.kid });
const own = await oauth.processClientCredentialsResponse(
  server,
  worker,
  await oauth.clientCredentialsGrantRequest(server, worker, proof, {}, plain),
);
said.credentials = own.scope;

const carnet = await oauth.processGenericTokenEndpointResponse(
  server,
  worker,
  await oauth.genericTokenEndpointRequest(
    server,
    worker,
    proof,
    "urn:ietf:params:oauth:grant-type:token-exchange",
    {
      subject_token: own.access_token,
      subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
      audience,
    },
    plain,
  ),
  { recognizedTokenTypes: { n_a: () => {} } }, // RFC 8693 §2.2.1
);
said.exchange = carnet.issued_token_type;

const known = await oauth.processIntrospectionResponse(
  server,
  worker,
  await oauth.introspectionRequest(server, worker, proof, carnet.access_token, plain),
);
said.introspection = { active: known.active, aud: known.aud };

console.log(JSON.stringify(said));

// ---- the user's browser, as far as it matters: it keeps a cookie, and sends a form

async function open(url) {
  const answer = await fetch(url, { redirect: "manual" });
  return { answer, cookie: answer.headers.get("set-cookie").split(";")[0] };
}

async function submit(answer, cookie, more) {
  const html = await answer.text();
  const form = new URLSearchParams();
  for (const [, name, value] of html.matchAll(/<input type="hidden" name="(\w+)" value="([^"]*)">/g))
    form.set(name, value.replaceAll("&#x27;", "'").replaceAll("&quot;", '"').replaceAll("&amp;", "&"));
  for (const [name, value] of Object.entries(more)) form.set(name, value);
  const action = new URL(html.match(/action="([^"]+)"/)[1], issuer);
  return fetch(action, { method: "POST", body: form, headers: { cookie }, redirect: "manual" });
}

async function signIn(url) {
  const { answer, cookie } = await open(url);
  const led = await submit(answer, cookie, { name: user, password, decision: "allow" });
  return led.headers.get("location");
}

async function allow({ verification_uri, user_code }) {
  const { answer, cookie } = await open(verification_uri);
  const page = await submit(answer, cookie, { user_code });
  await submit(page, cookie, { name: user, password, decision: "allow" });
}
