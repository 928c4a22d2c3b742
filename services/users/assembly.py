"""The user service's parts, put together over a database, a trust and the issuer's keys."""

from collections.abc import Callable
from dataclasses import dataclass

from auth.keyset import TrustRoot
from auth.trust import TrustSource
from messaging.database import Database
from services.contracts.scopes import ROLES
from services.users.accounts import Accounts
from services.users.acts import Acts
from services.users.administration import Administration
from services.users.assertions import Assertions
from services.users.attempts import Attempts, Limits
from services.users.clients import Clients
from services.users.codes import Codes
from services.users.devices import Devices
from services.users.exchange import TokenExchange
from services.users.handlers import Handlers
from services.users.oldkeys import OldKeys
from services.users.operators import Operators
from services.users.passwords import Passwords
from services.users.presented import Presented
from services.users.releases import Releases
from services.users.revocations import Revocations
from services.users.rotation import Rotation
from services.users.scope import Roles
from services.users.session_life import SessionLife
from services.users.session_list import SessionList
from services.users.sessions import Sessions
from services.users.sign_in import SignIns
from services.users.signing import IssuerKeys
from services.users.statements import Statements
from services.users.tokens import TokenDesk


@dataclass(frozen=True, slots=True)
class Register:
    """What keeps accounts and sessions: enough for an operator, who needs no keys."""

    database: Database
    acts: Acts
    attempts: Attempts
    revocations: Revocations
    accounts: Accounts
    sessions: Sessions
    session_list: SessionList
    clients: Clients
    clock: Callable[[], float]


def open_register(
    database: Database,
    passwords: Passwords,
    *,
    clock: Callable[[], float],
    life: SessionLife | None = None,
    limits: Limits | None = None,
    roles: Roles = ROLES,
) -> Register:
    acts = Acts(database, clock)
    revocations = Revocations(database, clock)
    attempts = Attempts(database, acts.pseudonyms, clock, limits or Limits())
    life = life or SessionLife()
    sessions = Sessions(database, revocations, clock, life, roles)
    return Register(
        database=database,
        acts=acts,
        attempts=attempts,
        revocations=revocations,
        accounts=Accounts(database, passwords, acts, revocations, attempts),
        sessions=sessions,
        session_list=SessionList(life, clock),
        clients=Clients(database, acts, sessions, roles),
        clock=clock,
    )


def make_handlers(
    register: Register, trust: TrustSource, keys: IssuerKeys, root: TrustRoot
) -> Handlers:
    """The requests' answers. `root`: whose earlier statements still tell of old keys."""
    acts, sessions, clock = register.acts, register.sessions, register.clock
    database, clients = register.database, register.clients
    sign_ins = SignIns(acts, register.accounts, register.attempts, sessions)
    presented = Presented(trust, sessions, clock)
    assertions = Assertions(trust, database, clock)
    return Handlers(
        trust=trust,
        keys=keys,
        acts=acts,
        accounts=register.accounts,
        sign_ins=sign_ins,
        clients=clients,
        codes=Codes(
            database=database,
            acts=acts,
            clients=clients,
            sign_ins=sign_ins,
            sessions=sessions,
            clock=clock,
        ),
        devices=Devices(
            database=database,
            acts=acts,
            clients=clients,
            attempts=register.attempts,
            sign_ins=sign_ins,
            sessions=sessions,
            clock=clock,
        ),
        sessions=sessions,
        presented=presented,
        exchange=TokenExchange(
            trust=trust,
            keys=keys,
            presented=presented,
            assertions=assertions,
            acts=acts,
            clock=clock,
        ),
        assertions=assertions,
        desk=TokenDesk(
            database=database,
            acts=acts,
            assertions=assertions,
            sessions=sessions,
            presented=presented,
            clients=clients,
        ),
        statements=Statements(keys, trust, register.revocations, clock=clock),
        releases=Releases(
            trust=trust,
            keys=keys,
            old_keys=OldKeys(root, database),
            operators=Operators(presented),
            sessions=sessions,
            acts=acts,
            clock=clock,
        ),
        clock=clock,
    )


def make_administration(
    register: Register, presented: Presented, rotation: Rotation
) -> Administration:
    """What answers operators."""
    return Administration(
        database=register.database,
        acts=register.acts,
        operators=Operators(presented),
        accounts=register.accounts,
        sessions=register.sessions,
        session_list=register.session_list,
        rotation=rotation,
    )
