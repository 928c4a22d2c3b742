// The trust feed as one relying party holds it ("The trust feed" in docs/wire-contract.md). It
// decides; trust.js carries. What it hears may come from anywhere, twice, late, or forged.

import { KeySetError, refuse, TrustUnavailable } from './errors.js';
import { LEEWAY } from './keyset.js';
import { MAX_STATEMENT, TYP, UnverifiedToken } from './tokens.js';

const MAX_SILENCE = 10; // seconds
const GAP = 1; // second for which a missing revocation may be on its way

/** What was ended: sessions, and subjects up to an epoch. */
export class Revocations {
  #sessions = new Map(); // until, by sid
  #subjects = new Map(); // {epoch, until}, by sub

  add({ sid, sub, epoch, until }) {
    if (sid != null) {
      this.#sessions.set(sid, Math.max(until, this.#sessions.get(sid) ?? 0));
    } else {
      const held = this.#subjects.get(sub) ?? { epoch: 0, until: 0 };
      this.#subjects.set(sub, {
        epoch: Math.max(epoch, held.epoch),
        until: Math.max(until, held.until),
      });
    }
  }

  /** Check 11. */
  check({ sid, sub, epoch }) {
    if (sid != null && this.#sessions.has(sid)) refuse('revoked', 'the session was ended');
    if (epoch < (this.#subjects.get(sub)?.epoch ?? 0)) refuse('revoked', "the subject's access");
  }

  prune(now) {
    for (const [sid, until] of this.#sessions) if (until <= now) this.#sessions.delete(sid);
    for (const [sub, { until }] of this.#subjects) if (until <= now) this.#subjects.delete(sub);
  }
}

/** Times: `now` in seconds since the epoch, `ticks` in seconds of a clock that nobody sets. */
export class Feed {
  revocations = new Revocations();
  #root;
  #feed; // which count of revocations
  #applied = -1; // number up to which none is missing; -1 before a snapshot
  #ahead = new Set(); // heard of, with an earlier one missing
  #latest = 0;
  #resync = true; // a snapshot is wanted before anything is judged
  #outdated = true; // not known to hold the newest key set
  #newestVersion;
  #behindSince;
  #beat = { iat: 0, seq: 0 };
  #heardAt;
  #lostAt = -Infinity;
  #clocksApart = 0;
  #gapSince;

  constructor(root, keySet) {
    this.#root = root;
    this.keySet = keySet;
    this.#newestVersion = keySet.version;
  }

  /** Throw TrustUnavailable unless what is held may be judged by. */
  requireFresh(now, ticks) {
    this.keySet.requireCurrent(now);
    const since = (moment) => (moment === undefined ? -Infinity : ticks - moment);
    const reason =
      (this.#resync || this.#heardAt === undefined) ? 'the trust feed is not complete yet'
      : since(this.#heardAt) > MAX_SILENCE ? 'the trust feed is silent'
      : Math.abs(now - ticks - this.#clocksApart) > LEEWAY ? 'our clock has jumped'
      : since(this.#gapSince) > MAX_SILENCE ? 'a revocation is missing'
      : (this.#outdated || since(this.#behindSince) > MAX_SILENCE) ? 'a newer key set is missing'
      : undefined;
    if (reason !== undefined) throw new TrustUnavailable(reason);
  }

  /** What came over `carnet.trust`. Throws Refusal or KeySetError; then nothing has changed. */
  async hear(text, now, ticks) {
    const token = new UnverifiedToken(text, { limit: MAX_STATEMENT });
    token.takeApart();
    token.readHeader();
    switch (token.header.typ) {
      case TYP.keySet: return void (await this.adopt(text, now, ticks));
      case TYP.heartbeat: return this.#takeHeartbeat(await this.#verify(token), now, ticks);
      case TYP.snapshot: return this.#takeMany(await this.#verify(token), now, ticks);
      default: return this.#takeRevocation(await this.#verify(token, TYP.revocation), now, ticks);
    }
  }

  /** A key set statement, whoever handed it over. */
  async adopt(text, now, ticks) {
    const offered = await this.#root.verify(text, now);
    if (!offered.supersedes(this.keySet)) return false;
    if (offered.issuer !== this.keySet.issuer) throw new KeySetError('another issuer');
    const withdrawn = [...this.keySet.issuerKeys.keys()].some((kid) => !offered.issuerKeys.has(kid));
    this.keySet = offered;
    if (withdrawn) { // its thief may have told what was told
      this.revocations = new Revocations();
      this.#newestVersion = offered.version;
      this.#restart();
      this.#lostAt = ticks;
    }
    if (this.#newestVersion <= offered.version) {
      this.#behindSince = undefined;
      this.#outdated = this.#outdated && this.#resync;
    }
    return true;
  }

  /** One page of a snapshot, asked for at `now` and `ticks`; whether another one is wanted. */
  async takeSnapshot(text, now, ticks) {
    const token = new UnverifiedToken(text, { limit: MAX_STATEMENT });
    token.takeApart();
    token.readHeader();
    const page = await this.#verify(token, TYP.snapshot);
    this.#checkTime(page, now);
    if (this.#feed !== undefined && page.feed !== this.#feed) this.#restart();
    if (page.after > Math.max(this.#applied, 0)) refuse('seal_mismatch', 'a page that leaves out');
    this.#feed = page.feed;
    for (const entry of page.entries) this.revocations.add(entry);
    this.#applied = Math.max(this.#applied, page.upto);
    this.#latest = Math.max(this.#latest, page.seq);
    // One that was asked for before a loss may be older than what was told, and lost, since.
    const sinceLoss = ticks >= this.#lostAt;
    this.#resync = this.#applied < page.seq || !sinceLoss;
    this.#closeGap(ticks);
    this.#noteVersion(page.version, ticks);
    if (this.#behindSince === undefined && sinceLoss) this.#outdated = false;
    const newer = this.#heardAt === undefined || ticks > this.#heardAt;
    const { iat, seq } = this.#beat;
    const notOlder = page.iat > iat || (page.iat === iat && page.seq >= seq);
    if (!this.#resync && newer && notOlder) this.#heard(now, ticks);
    return this.#resync;
  }

  /** We listen again, and what was told meanwhile is lost. */
  loseTrack(ticks) {
    this.#resync = true;
    this.#outdated = true;
    this.#lostAt = ticks;
  }

  get applied() {
    return this.#applied;
  }

  /** What is to be asked for now: revocations above a number, the key set. */
  wanted(ticks) {
    const overdue = this.#gapSince !== undefined && ticks - this.#gapSince >= GAP;
    return {
      after: this.#resync || overdue ? Math.max(this.#applied, 0) : undefined,
      keySet: this.#newestVersion > this.keySet.version,
    };
  }

  #takeHeartbeat(beat, now, ticks) {
    this.#checkTime(beat, now);
    if (this.#feed !== undefined && beat.feed !== this.#feed) this.#restart();
    const { iat, seq } = this.#beat;
    const newer = beat.seq >= seq && (beat.iat > iat || (beat.iat === iat && beat.seq > seq));
    if (!newer) refuse('too_old', 'a heartbeat that was heard before');
    const wasSilent = this.#heardAt !== undefined && ticks - this.#heardAt > MAX_SILENCE;
    this.#feed = beat.feed;
    this.#beat = beat;
    this.#heard(now, ticks);
    this.#latest = Math.max(this.#latest, beat.seq);
    this.#closeGap(ticks);
    this.#noteVersion(beat.version, ticks);
    if (wasSilent) { // what it names and we lack is lost, not on its way
      this.#resync ||= this.#gapSince !== undefined;
      this.#outdated ||= this.#behindSince !== undefined;
    }
  }

  #takeRevocation(revoked, now, ticks) {
    this.#checkTime(revoked, now);
    if (revoked.feed !== this.#feed) return; // the snapshot of that feed will have it
    this.revocations.add(revoked); // at once, also while an earlier one is missing
    this.#latest = Math.max(this.#latest, revoked.seq);
    if (revoked.seq > this.#applied) this.#ahead.add(revoked.seq);
    this.#closeGap(ticks);
  }

  #takeMany(page, now, ticks) {
    this.#checkTime(page, now);
    if (page.feed !== this.#feed) return;
    for (const entry of page.entries) this.revocations.add(entry);
    this.#latest = Math.max(this.#latest, page.upto);
    if (page.after <= this.#applied) this.#applied = Math.max(this.#applied, page.upto);
    this.#closeGap(ticks);
  }

  #heard(now, ticks) {
    this.#heardAt = ticks;
    this.#clocksApart = now - ticks;
  }

  #closeGap(ticks) {
    while (this.#ahead.delete(this.#applied + 1)) this.#applied += 1;
    if (this.#applied >= this.#latest) {
      this.#gapSince = undefined;
      this.#ahead.clear();
    } else {
      this.#gapSince ??= ticks;
    }
  }

  #noteVersion(announced, ticks) {
    this.#newestVersion = Math.max(this.#newestVersion, announced);
    if (this.#newestVersion > this.keySet.version) this.#behindSince ??= ticks;
  }

  /** The issuer counts anew. What is revoked stays revoked. */
  #restart() {
    this.#applied = -1;
    this.#latest = 0;
    this.#beat = { iat: 0, seq: 0 };
    this.#ahead.clear();
    this.#gapSince = undefined;
    this.#resync = true;
  }

  #checkTime({ iat }, now) {
    if (Math.abs(iat - now) > LEEWAY) refuse('too_old', 'a statement of another time');
  }

  async #verify(token, typ = token.header.typ) {
    token.checkAlgorithm(typ);
    const listed = this.keySet.issuerKeys.get(token.header.kid);
    if (listed === undefined) refuse('unknown_key', "kid is not among the issuer's keys");
    token.useKey(listed);
    await token.checkSignature();
    token.readClaims();
    token.checkSigningTime();
    if (token.claims.iss !== this.keySet.issuer) refuse('wrong_issuer', 'iss is not our issuer');
    if (typ === TYP.snapshot) checkOrder(token.claims);
    return token.claims;
  }
}

function checkOrder({ after, upto, seq, entries }) {
  const numbers = [after, ...entries.map((entry) => entry.seq)];
  const rising = numbers.every((number, at) => at === 0 || number > numbers[at - 1]);
  if (!rising || numbers.at(-1) > upto || upto > seq) refuse('malformed_claims', 'not in order');
}
