"""Which client may publish, exchange and ask for what: the data behind the key set statement."""

from dataclasses import dataclass, field
from typing import Final

from messaging.contract import Contract
from services.contracts import administration, authorization, journeys, orders, topology, users


@dataclass(frozen=True, slots=True)
class Grant:
    """What the key set statement gives one client."""

    publishes: frozenset[str] = field(default_factory=frozenset)
    """Message types that it may seal."""
    exchanges: frozenset[str] = field(default_factory=frozenset)
    """Audiences that it may ask a carnet for."""
    scopes: frozenset[str] = field(default_factory=frozenset)
    """What it may ask for itself, with no user behind it."""


def _types(*contracts: type[Contract]) -> frozenset[str]:
    return frozenset(contract.route.type for contract in contracts)


EVENTS: Final = _types(
    orders.OrderPlaced, orders.OrderCancelled, orders.OrderRefused, journeys.MessageJourney
)
"""Each is published by one client alone: from two, it is believed of neither."""

CLIENTS: Final[dict[str, Grant]] = {
    topology.USER_SERVICE: Grant(),
    topology.GATEWAY: Grant(
        publishes=_types(
            orders.PlaceOrder,
            orders.CancelOrder,
            orders.ListOrders,
            orders.GetOrder,
            orders.ListOrderEvents,
            users.Register,
            users.SignIn,
            users.Refresh,
            users.ClientCredentials,
            users.Exchange,
            users.SignOut,
            users.RevokeToken,
            users.Introspect,
            authorization.DescribeClient,
            authorization.Authorize,
            authorization.RedeemCode,
            authorization.StartDevice,
            authorization.DescribeDevice,
            authorization.AllowDevice,
            authorization.DenyDevice,
            authorization.RedeemDevice,
            authorization.DescribeSession,
            users.GetKeySet,
            users.GetRevocations,
        ),
        exchanges=frozenset({topology.ORDER_SERVICE}),
    ),
    topology.ORDER_SERVICE: Grant(
        publishes=EVENTS | _types(users.GetKeySet, users.GetRevocations),
    ),
    topology.OPERATOR_DESK: Grant(
        publishes=_types(
            users.SignIn,
            users.Refresh,
            users.SignOut,
            users.ReleaseLetter,
            users.DiscardLetter,
            administration.FindAccounts,
            administration.FindSessions,
            administration.EndSession,
            administration.EndSessions,
            administration.GetIssuerKeys,
            administration.RotateIssuerKey,
            administration.RetireIssuerKey,
            administration.ReadAudit,
            users.GetKeySet,
            users.GetRevocations,
        ),
    ),
}
"""The services of this system. An operator registers others with `carnet trust register`."""
