"""Redirect URIs: which ones a client may have, and which one a request means.

Compared as strings, one for one (RFC 9700 §2.1): no part of one is read, so there is nothing to
disagree about. The one exception is the port of a native app's own machine (RFC 8252 §7.3).
"""

import re
from collections.abc import Sequence
from typing import Final

_LONGEST: Final = 500
_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+=%-]+")
"""Of RFC 3986, but for `#`, since it "MUST NOT include a fragment component" (RFC 6749 §3.1.2),
and for `;` and `,`, which separate in a content policy, where its origin is to stand."""
_HOST: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_WEB: Final = re.compile(rf"(https?)://({_HOST})(:[0-9]{{1,5}})?([/?].*)?")
_OWN_MACHINE: Final = re.compile(r"http://(127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?([/?].*)?")
_LOOPBACK: Final = frozenset({"127.0.0.1", "[::1]", "localhost"})
_APP: Final = re.compile(r"[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+:/(?!/).*")
"""A scheme that is a domain name of the app's, backwards (RFC 8252 §7.1)."""
_DOTS: Final = re.compile(r"/(?:\.|%2e){1,2}(?:[/?]|$)", re.IGNORECASE)
"""A segment that a browser takes as a step in the path: it would go elsewhere than it says."""


def fault_of(redirect_uri: str) -> str | None:
    """Why no client may have this redirect URI, if so."""
    if len(redirect_uri) > _LONGEST or _CHARACTERS.fullmatch(redirect_uri) is None:
        return "it is too long, or has a fragment, a blank or another character that is none of it"
    if _DOTS.search(redirect_uri):
        return "its path has a segment of dots"
    web = _WEB.fullmatch(redirect_uri)
    if web is None:
        if _APP.fullmatch(redirect_uri):
            return None
        return (
            "it is neither https://host/…, nor http:// on 127.0.0.1, [::1] or localhost, nor of a "
            "scheme of the app's own with a dot in it, com.example.app:/…"
        )
    scheme, host, _, _ = web.groups()
    if scheme == "http" and host not in _LOOPBACK:
        return "http:// is for this machine alone: use https://"
    return None


def chosen(redirect_uri: str | None, registered: Sequence[str]) -> str | None:
    """The address that a request means, None where it may have no answer there.

    redirect_uri: as the request has it; None where it has none, which one that is alone stands for.
    """
    if redirect_uri is None:
        return registered[0] if len(registered) == 1 else None
    if any(_same(redirect_uri, one) for one in registered):
        return redirect_uri
    return None


def _same(redirect_uri: str, registered: str) -> bool:
    if redirect_uri == registered:
        return True
    asked, known = _OWN_MACHINE.fullmatch(redirect_uri), _OWN_MACHINE.fullmatch(registered)
    if asked is None or known is None:
        return False
    # "The authorization server MUST allow any port to be specified at the time of the request for
    # loopback IP redirect URIs" (RFC 8252 §7.3).
    return asked.group(1, 3) == known.group(1, 3) and _is_port(asked.group(2))


def _is_port(text: str | None) -> bool:
    highest = 65535
    return text is None or 0 < int(text[1:]) <= highest
