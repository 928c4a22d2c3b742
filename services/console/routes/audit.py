"""The issuer's audit log."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Security

from services.console.asking import ask
from services.console.bearer import Operator, operator
from services.console.parts import Parts
from services.contracts.administration import AuditPage, ReadAudit
from services.contracts.scopes import OPERATIONS_READ

router = APIRouter()


@router.get("/audit")
async def read_audit(
    operator: Annotated[Operator, Security(operator, scopes=[OPERATIONS_READ])],
    parts: Parts,
    *,
    what: Annotated[str | None, Query(max_length=40)] = None,
    outcome: Literal["done", "refused"] | None = None,
    about: Annotated[str | None, Query(max_length=255)] = None,
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> AuditPage:
    """Entries, the latest first."""
    asked = ReadAudit(
        access_token=operator.token,
        what=what or None,
        outcome=outcome,
        about=about or None,
        before=before,
    )
    return await ask(parts, asked)
