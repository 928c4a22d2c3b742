"""What keeps this checkout from being released; each is one line that says what to do."""

from typing import ClassVar


class ReleaseError(Exception):
    """It cannot be released. `code` is stable; the text is one line."""

    code: ClassVar[str] = "release"


class VersionError(ReleaseError):
    """Version and changelog do not fit together."""

    code = "version"


class ContentsError(ReleaseError):
    """An archive lacks what belongs into it, or has what does not."""

    code = "contents"


class BuildError(ReleaseError):
    """An archive cannot be built, or not be installed."""

    code = "build"


class RunError(ReleaseError):
    """What was installed does not do its work."""

    code = "run"
