"""Whose fault it is on the way, and whether another try would help.

    MessagingError
    ├── BrokerError                  the broker, or the way to it
    │   ├── BrokerUnavailableError   no connection now; the supervisor is at it, try again later
    │   │   ├── BrokerBlockedError   connected, but it takes no messages now: it is short of memory
    │   │   ├── BrokerUnreachableError  nobody answers at the address
    │   │   └── BrokerTokenError     nobody gives us a token to log in with now
    │   ├── BrokerUrlError           the URL cannot be one
    │   ├── BrokerLoginError         refused by the broker: name, password, token
    │   └── VirtualHostError         refused by the broker: virtual host
    ├── TopologyError                the broker's objects are not what we need
    │   ├── TopologyMismatchError    it exists, with other arguments
    │   └── MissingTopologyError     it does not exist, and we may not make it
    ├── PublishError                 one message was not, or may not have been, published
    │   ├── OversizedHeadersError    ours: never sent
    │   ├── BacklogFullError         ours: never sent, too many wait for the broker already
    │   ├── UnroutableError          no queue would take it: not stored anywhere
    │   ├── PublishForbiddenError    this login may not publish there: not stored anywhere
    │   └── UnconfirmedError         unknown: it may arrive yet
    │       ├── NackedError          the broker says no, for one queue of several perhaps
    │       ├── LateError            no confirm in time
    │       └── CutOffError          the connection or the channel broke before the confirm
    ├── TransientError               a handler's: try this message again later
    │   └── NotYetError              a handler's: what it needs has not happened yet
    ├── RepeatedError                a handler's: the message had its effect before
    └── DatabaseError                the service's own database
        ├── DatabaseUrlError         the URL cannot be one
        ├── DatabaseUnavailableError unreachable, locked, read-only, full: no message's fault
        └── MigrationError           the schema cannot be brought up to date

`code` is stable; `detail` is one line for people, and never quotes a password.
"""


class MessagingError(Exception):
    """Base of all that this package raises."""

    code = "messaging"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BrokerError(MessagingError):
    """The broker cannot be used."""

    code = "broker"


class BrokerUnavailableError(BrokerError):
    """There is no connection now, or it broke in the middle."""

    code = "broker_unavailable"


class BrokerBlockedError(BrokerUnavailableError):
    """The broker takes no messages at present, short of memory or disk; nothing was sent."""

    code = "broker_blocked"


class BrokerUnreachableError(BrokerUnavailableError):
    """Nobody answers as an AMQP broker at the address."""

    code = "broker_unreachable"


class BrokerTokenError(BrokerUnavailableError):
    """There is no token to log in with now; another try may get one."""

    code = "broker_token"


class BrokerUrlError(BrokerError):
    """The URL is not one of a broker."""

    code = "broker_url"


class BrokerLoginError(BrokerError):
    """The broker refuses the name, the password or the token; or we may have no token."""

    code = "broker_login"


class VirtualHostError(BrokerError):
    """The virtual host does not exist, or this login has no access to it."""

    code = "virtual_host"


class TopologyError(MessagingError):
    """An exchange, queue or binding is not there as we need it."""

    code = "topology"


class TopologyMismatchError(TopologyError):
    """It exists with other arguments; the broker's own words say which."""

    code = "topology_mismatch"


class MissingTopologyError(TopologyError):
    """It does not exist, and this login may not make it."""

    code = "topology_missing"


class PublishError(MessagingError):
    """A message was not published, or it is not known to be."""

    code = "publish"


class OversizedHeadersError(PublishError):
    """More than 16 KiB of headers: never sent, since the broker might close the connection."""

    code = "oversized_headers"


class BacklogFullError(PublishError):
    """As much as we hold waits for the broker already: never sent, and said at once."""

    code = "backlog_full"


class UnroutableError(PublishError):
    """The broker has no queue, or no exchange, for it; it is stored nowhere."""

    code = "unroutable"


class PublishForbiddenError(PublishError):
    """The broker's permissions do not let this login publish there."""

    code = "publish_forbidden"


class UnconfirmedError(PublishError):
    """Refused, late or cut off before the broker's confirm: unknown, and not known to have failed.

    The same message may be published again under the same message id of its seal.
    """

    code = "unconfirmed"


class NackedError(UnconfirmedError):
    """The broker refused it (`basic.nack`), as a full queue does; another queue may have it."""

    code = "nacked"


class LateError(UnconfirmedError):
    """The broker did not confirm within the deadline."""

    code = "late"


class CutOffError(UnconfirmedError):
    """The connection or the channel broke between sending and confirm."""

    code = "cut_off"


class TransientError(MessagingError):
    """Raised by a handler: another try, later, may succeed. Counted; see `messaging.retries`."""

    code = "transient"


class NotYetError(TransientError):
    """Raised by a handler: the message overtook one that it depends on."""

    code = "not_yet"


class RepeatedError(MessagingError):
    """Raised by a handler: the effect's own table has this message, which the inbox forgot."""

    code = "repeated"


class DatabaseError(MessagingError):
    """The service's own database cannot be used."""

    code = "database"


class DatabaseUrlError(DatabaseError):
    """The URL is not one of a database that we can use."""

    code = "database_url"


class DatabaseUnavailableError(DatabaseError):
    """Unreachable, locked, read-only, full: ours, and no message's fault."""

    code = "database_unavailable"


class DatabaseExposedError(DatabaseError):
    """The file of a database is open to others than its owner, and stays so."""

    code = "database_exposed"


class MigrationError(DatabaseError):
    """The schema cannot be brought up to date."""

    code = "migration"
