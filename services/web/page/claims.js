// What each claim means, and where that is written.

const RFC = (number, section) => ({
  text: `RFC ${number} §${section}`,
  href: `https://www.rfc-editor.org/rfc/rfc${number}#section-${section}`,
});
const WIRE = { text: "Carnet’s wire contract", href: null };

export const HEADERS = {
  alg: ["How it is signed. The verifier has its own list, and asks the key, not the token.", RFC(7515, "4.1.1")],
  kid: ["Which key: the fingerprint (RFC 7638) of one that the key set statement lists for this signer.", RFC(7515, "4.1.4")],
  typ: ["What kind of token this is. No verifier takes one kind for another.", RFC(8725, "3.11")],
};

export const CLAIMS = {
  iss: ["Issuer: who says so.", RFC(7519, "4.1.1")],
  sub: ["Subject: for whom it speaks.", RFC(7519, "4.1.2")],
  aud: ["Audience: the one receiver. Anybody else refuses it.", RFC(7519, "4.1.3")],
  exp: ["When it ends.", RFC(7519, "4.1.4")],
  nbf: ["Not before.", RFC(7519, "4.1.5")],
  iat: ["When it was issued.", RFC(7519, "4.1.6")],
  jti: ["Its own id.", RFC(7519, "4.1.7")],
  client_id: ["The client that it was issued to.", RFC(9068, "2.2")],
  scope: ["What it allows, and no more.", RFC(8693, "4.2")],
  auth_time: ["When you gave your password.", RFC(9068, "2.2.1")],
  act: ["Actor: the only client that may use it in your name, by sealing with its own key.", RFC(8693, "4.1")],
  sid: ["The session that it ends with.", WIRE],
  epoch: ["Rises when all your access is ended; lower ones are void.", WIRE],
  k: ["Kind of message: cmd is a command.", WIRE],
  ath: ["Hash of the carnet that it goes with: moved to another carnet it fits no more.", RFC(9449, "4.2")],
  bh: ["Hash of the body: change a byte and it fits no more.", WIRE],
  ex: ["The exchange that it was published to.", WIRE],
  rk: ["The routing key that it was published under.", WIRE],
  ty: ["The type of the message.", WIRE],
  cause: ["The message that this one tells of.", WIRE],
  what: ["What the issuer states: that it is released, or discarded.", WIRE],
  seal: ["Hash of the seal of the one message that it is about.", WIRE],
  lift: ["What does not count for this once: age, expiry, revocation.", WIRE],
  by: ["The operator who asked.", WIRE],
};

export const KINDS = {
  "at+jwt": "Access token: for HTTP, to this gateway only",
  "carnet+jwt": "Carnet: what travels with messages",
  "carnet-seal+jwt": "Seal: binds one carnet to one message",
  "carnet-release+jwt": "Release: the issuer’s statement on one dead letter",
};

const TIMES = new Set(["iat", "exp", "nbf", "auth_time"]);

function inWords(seconds) {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
}

/** A claim's value as people read it. */
export function shown(name, value, now = Date.now()) {
  if (TIMES.has(name) && Number.isSafeInteger(value) && value > 0 && value < 1e11) {
    const seconds = Math.round(value - now / 1000);
    const size = Math.abs(seconds);
    const away = inWords(size);
    return `${new Date(value * 1000).toLocaleString()} (${size === 0 ? "now" : seconds < 0 ? `${away} ago` : `in ${away}`})`;
  }
  return typeof value === "string" ? value : JSON.stringify(value);
}
