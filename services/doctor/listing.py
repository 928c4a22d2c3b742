"""Whether the key set statement gives a service of one's own what its `service.toml` declares."""

from auth.keyset import KeySet
from messaging.findings import Finding, fail, ok
from services.contracts.topology import GATEWAY
from services.declared import DeclaredService

CHECK = "listing"

_REMEDY = (
    "on a local stack: carnet services add FOLDER; elsewhere carnet trust register or carnet trust "
    "grant, with its service.toml"
)


def examine_listing(declared: DeclaredService, key_set: KeySet) -> Finding:
    """Compare what is declared with what is signed, the gateway's part too.

    The statement lists the client, whose key was found there already.
    """
    name, grant = declared.client, declared.grant
    listed, gateway = key_set.clients[name], key_set.clients.get(GATEWAY)
    if missing := grant.publishes - listed.publishes:
        return _fail(f"does not let {name} send {_all(missing)}")
    if missing := grant.exchanges - listed.exchanges:
        return _fail(f"does not let {name} act for its callers at {_all(missing)}")
    if ambiguous := declared.events & key_set.shared_types:
        return fail(
            CHECK,
            f"the key set statement lets others send {_all(ambiguous)} too, so nobody is believed "
            f"about it; leave it to {name}: carnet trust show, carnet trust grant",
        )
    if declared.commands:
        taken = frozenset[str]() if gateway is None else gateway.publishes
        if untaken := declared.commands.keys() - taken:
            return _fail(f"does not let {GATEWAY} send {_all(untaken)}")
        if gateway is None or name not in gateway.exchanges:
            return _fail(f"does not let {GATEWAY} ask for carnets for {name}")
    return ok(CHECK, f"version {key_set.version} gives {name} what it declares")


def _fail(said: str) -> Finding:
    return fail(CHECK, f"the key set statement {said}; {_REMEDY}")


def _all(names: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(names))
