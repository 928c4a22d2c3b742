"""Where everything stands: relying parties, queues, and what happens in them."""

import math
from typing import Annotated, Any

from fastapi import APIRouter, Query, Security

from services.console.bearer import operator
from services.console.parts import Parts
from services.contracts.scopes import OPERATIONS_READ
from services.operations.rates import EVERY

router = APIRouter(dependencies=[Security(operator, scopes=[OPERATIONS_READ])])


@router.get("/standing")
async def standing(parts: Parts) -> dict[str, Any]:
    """What the console itself holds of trust, and how each party stands."""
    parties = await parts.watching.parties()
    itself = parties[-1]
    key_set = parts.trust.key_set
    return {
        "key_set": {
            "version": key_set.version,
            "issued_at": key_set.issued_at,
            "expires_at": key_set.expires_at,
        },
        "feed": {
            "fresh": parts.trust.fresh,
            "silence": itself["silence"],
            "revocations": itself["revocations"],
        },
        "parties": parties,
    }


@router.get("/queues")
async def queues(parts: Parts) -> dict[str, Any]:
    """How much lies in each queue of the system."""
    return {"queues": [each.as_json() for each in await parts.queues.count()]}


@router.get("/rates")
async def rates(
    parts: Parts, after: Annotated[float, Query(allow_inf_nan=False)] = -math.inf
) -> dict[str, Any]:
    """What happened in the last quarter of an hour, later than `after`."""
    points = parts.watching.rates.after(after)
    return {"every": EVERY, "points": [point.as_json() for point in points]}
