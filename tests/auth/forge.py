"""Genuine keys, tokens and messages, of which a test changes exactly one thing.

A `Scene` is a message that its verifier accepts. Each of its methods returns another scene
that differs in what is named and is signed anew where that is possible, so that a refusal has
one reason only:

    scene = command_scene().with_carnet(aud="user-service")
    with pytest.raises(RefusalError) as refusal:
        scene.judge()
    assert refusal.value.code == Code.WRONG_AUDIENCE
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any, Final, Self

from auth.encryption import DecryptionKey
from auth.jws import ACCESS_TOKEN, CARNET, RELEASE, SEAL
from auth.keys import Algorithm, SigningKey
from auth.keyset import KeySet, TrustRoot
from auth.message import (
    AUTHORIZATION,
    BEARER,
    CARNET_RELEASE,
    CARNET_SEAL,
    Route,
    UnverifiedMessage,
)
from auth.policy import Expiry, Policy, at_acceptance, public, requires
from auth.revocation import RevocationList
from auth.seal import Kind, digest
from auth.statement import KeySetDraft
from auth.strict import encode_base64url
from auth.tokens import AccessClaims
from auth.trust import FixedTrust, TrustSource
from auth.verifier import VerifiedMessage, Verifier

NOW: Final = 1_800_000_000
"""The present of every test, seconds since the epoch."""

ISSUER: Final = "user-service"
GATEWAY: Final = "api-gateway"
ORDERS: Final = "order-service"
REPORTS: Final = "report-service"
"""A listed client that may publish nothing of the others'."""

OPERATOR: Final = "0c9d8e7f-6a5b-4c3d-8e2f-1a0b9c8d7e6f"
ALICE: Final = "3f0e5c1a-8f7e-4a52-9d0b-7b1c9a6f2e11"
SESSION: Final = "session-of-alice-0001"
CARNET_ID: Final = "carnet-0000000000000001"
MESSAGE_ID: Final = "message-000000000000001"
REQUEST_ID: Final = "request-000000000000001"
REPLY_QUEUE: Final = "carnet.api-gateway.4f1c"

PLACE: Final = Route("carnet.commands", "orders.place", "orders.place.v1")
LIST: Final = Route("carnet.rpc", "orders.rpc", "orders.list.v1")
LISTED: Final = Route("carnet.reply", REPLY_QUEUE, "orders.list.v1.reply")
PLACED: Final = Route("carnet.events", "orders.placed", "orders.placed.v1")

BODY: Final = b'{"lines":[{"sku":"tea","quantity":1,"unit_price":"3.20"}],"currency":"EUR"}'
ONE_DAY: Final = at_acceptance(timedelta(days=1))

ABSENT: Final = object()
"""The value of a claim or header member that is to be left out."""


def changed(original: Mapping[str, object], **changes: object) -> dict[str, object]:
    """A copy with other members; those that are `ABSENT` are left out."""
    return {k: v for k, v in {**original, **changes}.items() if v is not ABSENT}


@dataclass(frozen=True)
class Parties:
    """The private keys of everyone, and of a stranger who is listed nowhere."""

    root: SigningKey
    issuer: SigningKey
    issuer_next: SigningKey
    issuer_retired: SigningKey
    users: SigningKey
    gateway: SigningKey
    gateway_retired: SigningKey
    orders: SigningKey
    reports: SigningKey
    stranger: SigningKey
    users_enc: DecryptionKey
    gateway_enc: DecryptionKey

    RETIRED_AT = NOW - 60

    @classmethod
    def make(cls, algorithm: Algorithm = "ES256") -> Self:
        """New keys for everyone; `algorithm` is that of the issuer and of the gateway."""
        return cls(
            root=SigningKey.generate(),
            issuer=SigningKey.generate(algorithm),
            issuer_next=SigningKey.generate(),
            issuer_retired=SigningKey.generate(),
            users=SigningKey.generate(),
            gateway=SigningKey.generate(algorithm),
            gateway_retired=SigningKey.generate(),
            orders=SigningKey.generate(),
            reports=SigningKey.generate(),
            stranger=SigningKey.generate(),
            users_enc=DecryptionKey.generate(),
            gateway_enc=DecryptionKey.generate(),
        )

    @property
    def trust_root(self) -> TrustRoot:
        return TrustRoot([self.root.public])

    def draft(self) -> KeySetDraft:
        """A key set statement that lists all parties and is not signed yet."""
        draft = KeySetDraft.new(ISSUER)
        draft.add_issuer_key(self.issuer.public, "active")
        draft.add_issuer_key(self.issuer_next.public, "next")
        draft.issuer_keys.append(self._retired(self.issuer_retired))
        draft.add_client(
            ISSUER,
            key=self.users.public,
            enc=self.users_enc.public,
            publishes=frozenset({"users.signed-in.v1"}),
            exchanges=frozenset(),
            scopes=frozenset(),
        )
        draft.add_client(
            GATEWAY,
            key=self.gateway.public,
            enc=self.gateway_enc.public,
            publishes=frozenset({PLACE.type, LIST.type}),
            exchanges=frozenset({ORDERS}),
            scopes=frozenset(),
        )
        draft.keys_of(GATEWAY).append(self._retired(self.gateway_retired))
        draft.add_client(
            ORDERS,
            key=self.orders.public,
            enc=None,
            publishes=frozenset({PLACED.type}),
            exchanges=frozenset(),
            scopes=frozenset({"orders:read"}),
        )
        draft.add_client(
            REPORTS,
            key=self.reports.public,
            enc=None,
            publishes=frozenset({"reports.done.v1"}),
            exchanges=frozenset({ORDERS}),
            scopes=frozenset({"orders:read"}),
        )
        return draft

    def key_set(self, draft: KeySetDraft | None = None) -> KeySet:
        """The statement, signed by the root and believed."""
        statement = (draft or self.draft()).sign(self.root, now=NOW - 3600)
        return self.trust_root.verify(statement, now=NOW)

    def _retired(self, key: SigningKey) -> dict[str, Any]:
        return {**key.public.to_jwk(), "state": "retired", "retired_at": self.RETIRED_AT}


@cache
def parties(algorithm: Algorithm = "ES256") -> Parties:
    """The same keys for all tests, since nothing changes them."""
    return Parties.make(algorithm)


@dataclass(frozen=True)
class Token:
    """A token in the making: signed only when its text is asked for.

    header: members that differ from alg, kid and typ as the key and `typ` give them.
    write_header, write_payload: what is done to the JSON of each before it is signed.
    mangle: what is done to the text after it was signed.
    """

    claims: Mapping[str, object]
    typ: str
    key: SigningKey
    header: Mapping[str, object] = field(default_factory=dict)
    write_header: Callable[[str], str | bytes] = str
    write_payload: Callable[[str], str | bytes] = str
    mangle: Callable[[str], str] = str

    def but(self, **claims: object) -> Self:
        """Other claims, signed by the same key."""
        return replace(self, claims={**self.claims, **claims})

    def with_header(self, **members: object) -> Self:
        """Other header members, under a signature that holds."""
        return replace(self, header={**self.header, **members})

    def with_key(self, key: SigningKey) -> Self:
        """Signed by another key, which its header names."""
        return replace(self, key=key)

    @property
    def text(self) -> str:
        header = changed(
            {"alg": self.key.algorithm, "kid": self.key.kid, "typ": self.typ}, **self.header
        )
        parts = (
            self.write_header(json.dumps(header)),
            self.write_payload(json.dumps(changed(self.claims))),
        )
        signing_input = ".".join(
            encode_base64url(part.encode() if isinstance(part, str) else part) for part in parts
        )
        signature = self.key.sign(signing_input.encode())
        return self.mangle(f"{signing_input}.{encode_base64url(signature)}")


def access_token(who: Parties | None = None) -> Token:
    """Alice's access token for the gateway."""
    return Token(
        {
            "iss": ISSUER,
            "sub": ALICE,
            "aud": GATEWAY,
            "client_id": GATEWAY,
            "iat": NOW,
            "exp": NOW + 900,
            "jti": "access-0000000000000001",
            "scope": "orders:read orders:write",
            "sid": SESSION,
            "epoch": 3,
            "auth_time": NOW - 60,
        },
        ACCESS_TOKEN,
        (who or parties()).issuer,
    )


def carnet(who: Parties | None = None) -> Token:
    """Alice's carnet for the order service, to be sealed by the gateway."""
    return Token(
        {
            "iss": ISSUER,
            "sub": ALICE,
            "aud": ORDERS,
            "iat": NOW,
            "exp": NOW + 300,
            "jti": CARNET_ID,
            "scope": "orders:read orders:write",
            "sid": SESSION,
            "epoch": 3,
            "act": {"sub": GATEWAY},
        },
        CARNET,
        (who or parties()).issuer,
    )


def release(who: Parties | None = None, *, now: int = NOW) -> Token:
    """An operator's release of Alice's message, with all but a revocation lifted."""
    return Token(
        {
            "iss": ISSUER,
            "sub": ALICE,
            "aud": ORDERS,
            "iat": now,
            "exp": now + 600,
            "jti": "release-000000000000001",
            "scope": "orders:read orders:write",
            "sid": SESSION,
            "epoch": 3,
            "act": {"sub": GATEWAY},
            "what": "release",
            "lift": ["age", "expiry"],
            "by": OPERATOR,
        },
        RELEASE,
        (who or parties()).issuer,
    )


@dataclass(frozen=True)
class Scene:
    """A message, and the verifier that judges it.

    The seal's `bh` and `ath` are those of `body` and `carnet` unless its claims say otherwise;
    what is sent may differ from what was sealed (`sent_body`, `headers`). So is the `seal` of the
    release, where there is one.
    """

    kind: Kind
    seal: Token
    carnet: Token | None
    route: Route
    key_set: KeySet
    release: Token | None = None
    body: bytes = BODY
    sent_body: bytes | None = None
    sent_type: str | None = None
    reply_to: str | None = None
    headers: Mapping[str, object] = field(default_factory=dict)
    revocations: RevocationList = field(default_factory=RevocationList)
    audience: str = ORDERS
    policy: Policy = field(default_factory=lambda: requires("orders:write"))
    expiry: Expiry = ONE_DAY
    responder: str = ORDERS
    request_id: str = REQUEST_ID
    now: float = NOW
    trust: TrustSource | None = None

    def with_carnet(self, **claims: object) -> Self:
        """Another carnet of the same issuer, sealed by the same client."""
        assert self.carnet is not None
        return replace(self, carnet=self.carnet.but(**claims))

    def with_seal(self, **claims: object) -> Self:
        """Another seal of the same client."""
        return replace(self, seal=self.seal.but(**claims))

    def with_release(self, **claims: object) -> Self:
        """Released by the issuer, with other claims than `release` gives."""
        return replace(self, release=(self.release or release()).but(**claims))

    def with_headers(self, **headers: object) -> Self:
        """Other headers than those that carnet and seal make; `_` stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **named})

    def message(self) -> UnverifiedMessage:
        bound: dict[str, object] = {"bh": digest(self.body)}
        headers: dict[str, object] = {}
        if self.carnet is not None:
            text = self.carnet.text
            bound["ath"] = digest(text.encode("utf-8", "surrogatepass"))
            headers[AUTHORIZATION] = BEARER + text
        seal = replace(self.seal, claims={**bound, **self.seal.claims}).text
        headers[CARNET_SEAL] = seal
        if self.release is not None:
            of_seal = {"seal": digest(seal.encode("utf-8", "surrogatepass"))}
            claims = {**of_seal, **self.release.claims}
            headers[CARNET_RELEASE] = replace(self.release, claims=claims).text
        return UnverifiedMessage(
            body=self.body if self.sent_body is None else self.sent_body,
            headers=changed(headers, **self.headers),
            type=self.sent_type or self.route.type,
            reply_to=self.reply_to,
        )

    def judge(self) -> VerifiedMessage:
        """What the verifier says of the message."""
        return self.judge_message(self.message())

    def judge_message(self, message: UnverifiedMessage) -> VerifiedMessage:
        """What the verifier says of another message in this one's place."""
        trust = self.trust or FixedTrust(self.key_set, self.revocations)
        verifier = Verifier(trust, audience=self.audience)
        match self.kind:
            case "cmd":
                return verifier.command(message, self.route, self.policy, self.expiry, now=self.now)
            case "req":
                return verifier.request(message, self.route, self.policy, now=self.now)
            case "rep":
                return verifier.reply(
                    message,
                    self.route,
                    responder=self.responder,
                    request_id=self.request_id,
                    now=self.now,
                )
            case "evt":
                return verifier.event(message, self.route, now=self.now)


def _seal(kind: Kind, signer: str, key: SigningKey, route: Route, **claims: object) -> Token:
    return Token(
        {
            "k": kind,
            "iss": signer,
            "jti": MESSAGE_ID,
            "iat": NOW,
            "exp": NOW + 60,
            "ex": route.exchange,
            "rk": route.routing_key,
            "ty": route.type,
            **claims,
        },
        SEAL,
        key,
    )


def command_scene(who: Parties | None = None) -> Scene:
    """Alice places an order through the gateway; the order service judges."""
    who = who or parties()
    return Scene(
        kind="cmd",
        seal=_seal("cmd", GATEWAY, who.gateway, PLACE, aud=ORDERS, exp=NOW + 3600),
        carnet=carnet(who),
        route=PLACE,
        key_set=who.key_set(),
    )


def request_scene(who: Parties | None = None) -> Scene:
    """Alice lists her orders through the gateway; the order service judges."""
    who = who or parties()
    return Scene(
        kind="req",
        seal=_seal("req", GATEWAY, who.gateway, LIST, aud=ORDERS, rt=REPLY_QUEUE),
        carnet=carnet(who),
        route=LIST,
        key_set=who.key_set(),
        reply_to=REPLY_QUEUE,
        policy=requires("orders:read"),
    )


def public_request_scene(who: Parties | None = None) -> Scene:
    """The gateway asks the order service for something that needs no carnet."""
    return replace(request_scene(who), carnet=None, policy=public())


def reply_scene(who: Parties | None = None) -> Scene:
    """The order service answers the gateway, which judges."""
    who = who or parties()
    return Scene(
        kind="rep",
        seal=_seal("rep", ORDERS, who.orders, LISTED, aud=GATEWAY, re=REQUEST_ID),
        carnet=None,
        route=LISTED,
        key_set=who.key_set(),
        audience=GATEWAY,
    )


def event_scene(who: Parties | None = None) -> Scene:
    """The order service says that an order of Alice's was placed; the gateway judges."""
    who = who or parties()
    return Scene(
        kind="evt",
        seal=_seal("evt", ORDERS, who.orders, PLACED, sub=ALICE, cause=REQUEST_ID),
        carnet=None,
        route=PLACED,
        key_set=who.key_set(),
        audience=GATEWAY,
    )


def judge_access_token(
    token: Token | str,
    *,
    who: Parties | None = None,
    audience: str = GATEWAY,
    revocations: RevocationList | None = None,
    now: float = NOW,
) -> AccessClaims:
    """What the gateway's verifier says of an access token."""
    trust = FixedTrust((who or parties()).key_set(), revocations)
    text = token if isinstance(token, str) else token.text
    return Verifier(trust, audience=audience).access_token(text, now=now)
