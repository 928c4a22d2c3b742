"""What an examination has found so far; whatever fails is noted, and the rest goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from auth.errors import AuthError
from messaging.errors import MessagingError
from messaging.findings import Finding, fail
from services.errors import StartError


@dataclass(slots=True)
class Report:
    """`subject`: a service, or the broker."""

    subject: str
    findings: list[Finding] = field(default_factory=list)

    def add(self, *findings: Finding) -> None:
        self.findings += findings

    @contextmanager
    def part(self, check: str) -> Iterator[None]:
        """What would end a service's start inside is a finding of this check."""
        try:
            yield
        except (AuthError, MessagingError) as error:
            self.add(fail(check, " ".join(error.detail.split())))
        except StartError as error:
            self.add(fail(check, " ".join(str(error).split())))
        except OSError as error:
            self.add(fail(check, f"{error.filename}: {error.strerror}"))
