"""Who calls: the access token of a request, taken from where it may be, and verified."""

from collections.abc import Set as AbstractSet

from fastapi import Request

from auth.errors import RefusalError
from auth.tokens import AccessClaims
from auth.verifier import Verifier
from services.web import problems
from services.web.faults import CHALLENGE, quotable
from services.web.problems import ProblemError


def judged(verifier: Verifier, unverified_token: str, *, now: float) -> AccessClaims:
    """The claims of an access token, as of now.

    Raises:
        ProblemError: 401, with the code of the refusal.
        TrustUnavailableError: nothing can be judged at present.
    """
    try:
        return verifier.access_token(unverified_token, now=now)
    except RefusalError as refusal:
        raise ProblemError(
            problems.token_refused(refusal.code),
            f"The access token is refused: {refusal.detail}.",
            headers=_challenge("invalid_token", refusal.detail),
        ) from refusal


def lacking(missing: AbstractSet[str]) -> ProblemError:
    """403: genuine, and without the scopes that are needed."""
    wanted = " ".join(sorted(missing))
    return ProblemError(
        problems.INSUFFICIENT_SCOPE,
        f"The access token lacks: {wanted}.",
        headers=_challenge("insufficient_scope", f"lacks {wanted}", scope=wanted),
    )


def take_token(request: Request) -> str:
    """The one access token of a request, from the one place where it may be."""
    if request.scope["query_string"] and "access_token" in request.query_params:
        raise ProblemError(
            problems.TOKEN_IN_QUERY,
            "Addresses are logged and kept: send the token in the Authorization header, "
            "and consider the one that was sent here as lost.",
            headers=_challenge("invalid_request", "a token in the query"),
        )
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        # "Clients MUST NOT use more than one method to transmit the token" (RFC 6750 §2).
        raise ProblemError(
            problems.DUPLICATE_TOKEN,
            "There is more than one Authorization header.",
            headers=_challenge("invalid_request", "more than one Authorization header"),
        )
    scheme, _, unverified_token = headers[0].partition(" ") if headers else ("", "", "")
    if scheme.lower() != "bearer" or not unverified_token.strip():
        # No error code where the request has no credentials (RFC 6750 §3.1).
        raise ProblemError(
            problems.MISSING_TOKEN,
            "Send an access token: Authorization: Bearer …",
            headers={"WWW-Authenticate": CHALLENGE},
        )
    return unverified_token.strip()


def _challenge(error: str, description: str, *, scope: str | None = None) -> dict[str, str]:
    challenge = f'{CHALLENGE}, error="{error}", error_description="{quotable(description)}"'
    if scope is not None:
        challenge += f', scope="{scope}"'
    return {"WWW-Authenticate": challenge}
