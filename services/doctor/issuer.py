"""The issuer's own key: whether the one that signs is here, and will be believed."""

from sqlalchemy import select

from auth.keyset import KeySet
from messaging.findings import Finding, fail, ok, warn
from messaging.schema import reading
from services.keyring import ISSUER
from services.settings import ServiceSettings
from services.users.keyfolder import KeyFolder
from services.users.signing import may_sign
from services.users.store import IssuerKey

CHECK = "issuer key"


async def examine_issuer_key(settings: ServiceSettings, key_set: KeySet, *, now: float) -> Finding:
    """Look up which key signs, in the database that all replicas share.

    Raises:
        DatabaseUnavailableError: it is not there, or has no such table yet.
        KeyFileError: a key in the folder cannot be used.
    """
    folder = KeyFolder(settings.keys / ISSUER, settings.passphrase)
    async with reading(settings.database_url.get_secret_value()) as connection:
        kid = await connection.scalar(select(IssuerKey.kid).where(IssuerKey.signing.is_(True)))
    if kid is None:
        return warn(CHECK, "none was chosen yet; the user service does so when it starts")
    listed = key_set.issuer_keys.get(kid)
    if listed is None or not may_sign(listed, now=now):
        return fail(CHECK, f"{kid} signs and is listed no more; the next one: carnet keys rotate")
    if folder.get(kid) is None:
        return fail(CHECK, f"{kid} signs and is not in {folder.folder}; put it there")
    return ok(CHECK, f"{kid} signs, is listed and is here")
