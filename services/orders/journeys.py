"""Tells whoever watches a message what became of it: a live event that is kept nowhere."""

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import uuid4

from auth.claims import service_subject
from auth.explain import DecodedToken
from auth.seal import Sealer
from messaging.envelope import Envelope, sealed_headers
from messaging.journeys import Report, name_of
from messaging.outcome import DeadLetter
from messaging.publisher import Publisher
from messaging.settlement import MAX_DETAIL
from services.contracts.journeys import CheckTold, MessageJourney, TokenTold
from services.contracts.topology import ORDER_SERVICE

LIFE: Final = 60.0
"""Seconds for which a report counts."""

DEADLINE: Final = 2.0
"""Seconds for a report to leave; then it is lost."""

_MICRO: Final = 1_000_000


def teller(
    publisher: Publisher, sealer: Sealer, clock: Callable[[], float]
) -> Callable[[Report], Awaitable[None]]:
    """Sends reports in the order service's name."""

    async def tell(report: Report) -> None:
        body, now = told(report).to_body(), clock()
        seal = sealer.event(
            route=MessageJourney.route,
            message_id=str(uuid4()),
            body=body,
            subject=report.subject or service_subject(ORDER_SERVICE),
            cause=report.mark.stream,
            now=now,
            expires_at=now + LIFE,
        )
        await publisher.publish(
            Envelope(
                route=MessageJourney.route,
                body=body,
                headers=sealed_headers(seal, None),
                expiration=LIFE,
                persistent=False,
            ),
            deadline=DEADLINE,
        )

    return tell


def told(report: Report) -> MessageJourney:
    """A report as it is told."""
    outcome = report.outcome
    refused = outcome if isinstance(outcome, DeadLetter) else None
    return MessageJourney(
        message=report.mark.message,
        command=report.type,
        queue=report.queue,
        outcome=name_of(outcome),
        code=None if refused is None else refused.code,
        detail=None if refused is None else refused.detail[:MAX_DETAIL],
        checks=tuple(
            CheckTold(
                number=step.check,
                check=step.check.name.lower(),
                question=step.check.question,
                verdict=step.verdict,
                microseconds=None if step.seconds is None else round(step.seconds * _MICRO),
            )
            for step in report.steps
        ),
        carnet=_said(report.carnet),
        seal=_said(report.seal),
        published_ms=report.mark.published_ms,
        arrived_ms=report.arrived_ms,
        settled_ms=report.settled_ms,
    )


def _said(token: DecodedToken | None) -> TokenTold | None:
    if token is None:
        return None
    return TokenTold(header=token.unverified_header, claims=token.unverified_claims)
