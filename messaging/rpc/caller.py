"""Who asks: what an answering handler receives beside the request."""

from dataclasses import dataclass

from auth.errors import Code
from auth.principal import Principal
from messaging.rpc.errors import Refused


@dataclass(frozen=True, slots=True)
class Caller:
    """The verified origin of a request.

    client: the service that sealed it.   principal: on whose behalf, None under `public()`.
    request_id: the request's own id, `jti` of its seal.
    """

    client: str
    principal: Principal | None
    request_id: str

    def principal_or_refuse(self) -> Principal:
        """The principal, which a request under `requires(...)` always has.

        Raises:
            Refused: `missing_token`.
        """
        if self.principal is None:
            raise Refused(Code.MISSING_TOKEN, "this is answered on somebody's behalf only")
        return self.principal
