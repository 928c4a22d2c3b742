"""Dead letters: seen, explained, released, discarded."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Security
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from services.console.bearer import Operator, operator
from services.console.letters import SHOWN
from services.console.parts import Parts
from services.contracts.scopes import DEAD_LETTERS_RELEASE, OPERATIONS_READ
from services.operations.bulk import Tally
from services.operations.letters import Filter
from services.web.media import JSON, takes

router = APIRouter(prefix="/letters")

MAX_NAMES = 50

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Queue = Annotated[str, Field(max_length=200)]
Names = Annotated[
    list[Annotated[str, Field(max_length=300)]], Query(default_factory=list, max_length=MAX_NAMES)
]
Reader = Annotated[Operator, Security(operator, scopes=[OPERATIONS_READ])]
Releaser = Annotated[Operator, Security(operator, scopes=[DEAD_LETTERS_RELEASE])]


class Some(BaseModel):
    """Letters of a queue, by their digests."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    queue: Queue
    letters: Annotated[list[Digest], Field(min_length=1, max_length=SHOWN)]


class ToRelease(Some):
    """Likewise; and whether also where a session or access was ended since."""

    lift_revocation: bool = False


@router.get("")
async def find(
    _: Reader,
    parts: Parts,
    reason: Names,
    service: Names,
    user: Names,
    *,
    queue: Queue | None = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    search: Annotated[str, Query(max_length=300)] = "",
) -> dict[str, Any]:
    """What fits the filter, the newest first."""
    letters = parts.letters
    wanted = Filter(
        reasons=frozenset(reason),
        services=frozenset(service),
        users=frozenset(user),
        since=None if since is None else since.timestamp(),
        until=None if until is None else until.timestamp(),
        search=search,
    )
    chosen = queue or letters.queues[0]
    found = await letters.find(chosen, wanted)
    return {
        "queue": chosen,
        "queues": letters.queues,
        "total": found.total,
        "letters": [line.as_json() for line in found.lines],
        "reasons": found.reasons,
        "complete": found.complete,
    }


@router.get("/{digest}")
async def explain(
    _: Reader,
    parts: Parts,
    digest: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")],
    queue: Queue | None = None,
) -> dict[str, Any]:
    """All that there is to know of one, without any token that could be used."""
    return await parts.letters.explain(queue or parts.letters.queues[0], digest)


@router.post("/release", dependencies=[Depends(takes(JSON))])
async def release(operator: Releaser, parts: Parts, some: ToRelease) -> dict[str, Any]:
    """Have them taken after all, as they were sent."""
    tally = await parts.letters.release(
        some.queue, some.letters, operator.access_token, lift_revocation=some.lift_revocation
    )
    return _told(tally)


@router.post("/discard", dependencies=[Depends(takes(JSON))])
async def discard(operator: Releaser, parts: Parts, some: Some) -> dict[str, Any]:
    """Take them away."""
    return _told(await parts.letters.discard(some.queue, some.letters, operator.access_token))


def _told(tally: Tally) -> dict[str, Any]:
    return {
        "done": tally.done,
        "stay": dict(sorted(tally.refused.items())),
        "refusals": [{"id": name, "why": why} for name, why in tally.refusals],
    }
