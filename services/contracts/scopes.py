"""The scopes that a token may carry, and the roles that give them."""

from typing import Final

ORDERS_READ: Final = "orders:read"
ORDERS_WRITE: Final = "orders:write"
ORDERS_READ_ALL: Final = "orders:read-all"
ORDERS_WRITE_ALL: Final = "orders:write-all"
DEAD_LETTERS_RELEASE: Final = "dead-letters:release"
TOKENS_INTROSPECT: Final = "tokens:introspect"
"""To be told what any token is. Meant for services that cannot verify tokens themselves."""
OPERATIONS_READ: Final = "operations:read"
"""To see what operators see: refused messages, accounts, sessions, keys, queues, the audit log."""
SESSIONS_REVOKE: Final = "sessions:revoke"
KEYS_ROTATE: Final = "keys:rotate"

CUSTOMER: Final = "customer"
OPERATOR: Final = "operator"
OBSERVER: Final = "observer"
"""Sees what operators see, and changes nothing."""

ROLES: Final[dict[str, frozenset[str]]] = {
    CUSTOMER: frozenset({ORDERS_READ, ORDERS_WRITE}),
    OPERATOR: frozenset(
        {
            ORDERS_READ,
            ORDERS_WRITE,
            ORDERS_READ_ALL,
            ORDERS_WRITE_ALL,
            DEAD_LETTERS_RELEASE,
            TOKENS_INTROSPECT,
            OPERATIONS_READ,
            SESSIONS_REVOKE,
            KEYS_ROTATE,
        }
    ),
    OBSERVER: frozenset({OPERATIONS_READ}),
}
"""What a role may do; a token never carries more than its account's roles give."""
