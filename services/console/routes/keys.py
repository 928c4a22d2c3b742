"""The issuer's keys: seen, and which one signs."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Security

from services.console.asking import ask
from services.console.bearer import Operator, operator
from services.console.parts import Parts
from services.contracts.administration import (
    GetIssuerKeys,
    IssuerKeyChanged,
    IssuerKeysPage,
    RetireIssuerKey,
    RotateIssuerKey,
)
from services.contracts.scopes import KEYS_ROTATE, OPERATIONS_READ

router = APIRouter(prefix="/keys")

Reader = Annotated[Operator, Security(operator, scopes=[OPERATIONS_READ])]
Rotator = Annotated[Operator, Security(operator, scopes=[KEYS_ROTATE])]


@router.get("")
async def list_keys(operator: Reader, parts: Parts) -> IssuerKeysPage:
    """All that the issuer has or had."""
    return await ask(parts, GetIssuerKeys(access_token=operator.token))


@router.post("/rotate")
async def rotate(
    operator: Rotator,
    parts: Parts,
    instead_of: Annotated[str | None, Query(max_length=64)] = None,
) -> IssuerKeyChanged:
    """Let the next key sign from now on.

    instead_of: the key that must still be the one that signs. Two operators who do it at once, or
        one who does it again because no answer came, else use up two next keys.
    """
    asked = RotateIssuerKey(access_token=operator.token, instead_of=instead_of or None)
    return await ask(parts, asked)


@router.post("/{kid}/retire")
async def retire(
    operator: Rotator, parts: Parts, kid: Annotated[str, Path(max_length=64)]
) -> IssuerKeyChanged:
    """Have a key never sign any more."""
    return await ask(parts, RetireIssuerKey(access_token=operator.token, kid=kid))
