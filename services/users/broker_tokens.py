"""Tokens for the broker: which of the listed clients may have one, and the user service's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from auth.brokertoken import MAX_BROKER_LIFE, MAX_SCOPES, sign_broker_token
from auth.claims import service_subject
from auth.errors import TrustUnavailableError
from auth.trust import TrustSource
from messaging.errors import BrokerTokenError, DatabaseUnavailableError
from messaging.login import BrokerToken
from messaging.rpc import Refused
from services.contracts.rights import RIGHTS, Pattern, Rights
from services.contracts.topology import USER_SERVICE
from services.errors import StartError
from services.users.acts import Acts, Asker
from services.users.assertions import Assertions
from services.users.audit import What
from services.users.broker_scopes import broker_scopes
from services.users.signing import IssuerKeys


@dataclass(frozen=True, slots=True)
class Granted:
    """A token for the broker. `life`: seconds that are left of it."""

    token: str = field(repr=False)
    scope: str
    life: float

    @property
    def expires_in(self) -> int:
        """As OAuth 2 has it: whole seconds, and rather one too few."""
        return int(self.life)


class BrokerTokens:
    def __init__(
        self,
        *,
        trust: TrustSource,
        keys: IssuerKeys,
        acts: Acts,
        assertions: Assertions,
        resource: str,
        vhost: str,
        clock: Callable[[], float],
        life: int = MAX_BROKER_LIFE,
        rights: Mapping[str, Rights] = RIGHTS,
    ) -> None:
        """resource: the broker's name, its `resource_server_id`.   life: seconds.

        rights: who gets a token, and for what.

        Raises:
            StartError: a service has that name, and its tokens would pass for the broker's; or
                the virtual host's name, which each scope repeats, is too long for a token.
        """
        if resource == trust.key_set.issuer or resource in trust.key_set.clients:
            raise StartError(
                f"CARNET_BROKER_RESOURCE: {resource} is the name of a service; the broker, which "
                "tells tokens apart by that name alone, needs one of its own"
            )
        self._scopes = {
            client_id: _fitting(client_id, its, resource=resource, vhost=vhost)
            for client_id, its in rights.items()
        }
        self._trust = trust
        self._keys = keys
        self._acts = acts
        self._assertions = assertions
        self._resource = resource
        self._clock = clock
        self._life = life

    async def own(self) -> BrokerToken:
        """The user service's own: whom else should it ask?

        Raises:
            BrokerTokenError: nothing can be signed now.
        """
        try:
            async with self._acts.of(Asker.itself(), What.CLIENT_CREDENTIALS) as act:
                act.entry.why = f"for {self._resource}"
                granted = await self._grant(USER_SERVICE)
        except (TrustUnavailableError, DatabaseUnavailableError) as error:
            raise BrokerTokenError(f"no token for the broker: {error.detail}") from error
        return BrokerToken(granted.token, granted.life)

    async def give(self, unverified_assertion: str, *, origin: str | None) -> Granted:
        """A token for the client that the assertion proves.

        The assertion is made out to the broker, not to us: one that was meant for the gateway's
        token endpoint, or for any other use of ours, gets nobody onto the broker.

        Raises:
            Refused: `invalid_client`, or `unauthorized_client`: a client has no place there.
            TrustUnavailableError, DatabaseUnavailableError: nothing can be judged or signed now.
        """
        # Before anything is written: whoever reaches this port could fill the database.
        proven = self._assertions.proven(unverified_assertion, audience=self._resource)
        asker = Asker(service_subject(proven.iss), proven.iss)
        async with self._acts.of(asker, What.CLIENT_CREDENTIALS, origin=origin) as act:
            await self._assertions.use(act, proven)
            act.entry.why = f"for {self._resource}"
            if proven.iss not in self._scopes:
                raise Refused("unauthorized_client", "this client has no rights at the broker")
            return await self._grant(proven.iss)

    async def _grant(self, client_id: str) -> Granted:
        key = await self._keys.signing_key()
        scopes = self._scopes[client_id]
        now = self._clock()
        token = sign_broker_token(
            self._trust.key_set.issuer,
            key,
            client_id=client_id,
            resource=self._resource,
            scopes=scopes,
            now=now,
            life=self._life,
        )
        return Granted(token, " ".join(scopes), int(now) + self._life - now)


def _fitting(client_id: str, rights: Rights, *, resource: str, vhost: str) -> tuple[str, ...]:
    """The client's scopes, which the broker can read in one token.

    Those that only let it count what waits are left out where there is no room for them.

    Raises:
        StartError: they are too long, which is better said now than at each login.
    """
    for granted in (rights, replace(rights, counts=Pattern())):
        scopes = broker_scopes(client_id, granted, resource=resource, vhost=vhost)
        length = len(" ".join(scopes))
        if length <= MAX_SCOPES:
            break
    else:
        raise StartError(
            f"CARNET_AMQP_URL, CARNET_BROKER_RESOURCE: with these names of virtual host and broker "
            f"the scopes of {client_id} have {length} characters, and a token for the broker holds "
            f"{MAX_SCOPES}; shorten them, or set CARNET_BROKER_LOGIN=password"
        )
    return scopes
