"""The pages on which users sign in for a client: plain HTML, no script, nothing from elsewhere.

All that is put into a page is escaped here, and nowhere else.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import Response

from services.gateway.bearer import SCOPES

_STYLE: Final = """
:root { color-scheme: light dark; --edge: #767676; --accent: #0b57d0; --on: #fff; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --edge: #949494; --accent: #a8c7fa; --on: #062e6f; --bad: #f2b8b5; }
}
* { box-sizing: border-box; }
html { background: Canvas; color: CanvasText; }
a { color: var(--accent); }
body { margin: 0; font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 26rem; margin: 0 auto; padding: 2rem 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; }
label { display: block; margin-top: 1rem; font-weight: 600; }
input { width: 100%; padding: .6rem; font: inherit; border: 1px solid var(--edge);
  border-radius: .3rem; }
.code { font: 1.25rem ui-monospace, monospace; letter-spacing: .1em; }
button { margin: 1.5rem .5rem 0 0; padding: .6rem 1.2rem; font: inherit; border-radius: .3rem;
  border: 1px solid var(--accent); background: transparent; color: inherit; cursor: pointer; }
button.main { background: var(--accent); color: var(--on); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.bad { border-left: .3rem solid var(--bad); padding-left: .8rem; }
.small { font-size: .875rem; overflow-wrap: anywhere; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")

TEXT: Final = "text/html"
FORM_TOKEN: Final = "form_token"  # noqa: S105 - a field's name
DOCUMENTED: Final[dict[str, Any]] = {
    TEXT: {"schema": {"type": "string"}, "example": "<!doctype html>…"}
}
"""A page, as the content of an answer in the OpenAPI document."""


def page(
    title: str,
    content: str,
    *,
    status: int = 200,
    form_action: str = "'self'",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A page of HTML that is safe already.

    form_action: where its form may lead, also by a redirect, which some browsers count as well.
    """
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action {form_action}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    document = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{content}\n</main>\n</body>\n</html>\n"
    )
    return Response(
        document,
        status_code=status,
        media_type=TEXT,
        headers={
            "Content-Security-Policy": policy,
            "X-Frame-Options": "DENY",  # for browsers that know no `frame-ancestors`
            **(headers or {}),
        },
    )


def message(title: str, text: str, *, status: int = 200) -> Response:
    """A page that says one thing."""
    return page(title, f"<p>{escape(text)}</p>", status=status)


def sign_in(
    *,
    client: str,
    scopes: Sequence[str],
    action: str,
    hidden: Mapping[str, str],
    whither: str,
    form_action: str = "'self'",
    name: str = "",
    alert: str | None = None,
    status: int = 200,
) -> Response:
    """Where a user signs in, and by that lets a client have what it asks for; or does not.

    client: its title.   whither: what happens next, one sentence.   alert: what went wrong.
    """
    wrong = ' aria-describedby="alert"' if alert else ""
    wishes = "".join(f"<li>{escape(SCOPES.get(scope, scope))}</li>" for scope in scopes)
    return page(
        f"Sign in for {client}",
        f"""{_alert(alert)}
<p><strong>{escape(client)}</strong> asks to do this in your name:</p>
<ul>{wishes}</ul>
<p>You give it no more than your account may do. It does not learn your password.</p>
<form method="post" action="{escape(action)}">
{_hidden(hidden)}
<label for="name">Name</label>
<input id="name" name="name" value="{escape(name)}" autocomplete="username" autocapitalize="none"
 spellcheck="false" required maxlength="200"{wrong}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required
 maxlength="256"{wrong}>
<button class="main" name="decision" value="allow">Sign in and allow</button>
<button name="decision" value="deny" formnovalidate>Cancel</button>
</form>
<p class="small">{escape(whither)}</p>""",
        status=status,
        form_action=form_action,
    )


def user_code(
    *, action: str, hidden: Mapping[str, str], code: str = "", alert: str | None = None
) -> Response:
    """Where a user types the code that a device shows."""
    wrong = ' aria-describedby="alert"' if alert else ""
    return page(
        "Sign in on a device",
        f"""{_alert(alert)}
<p>Type the code that your device or terminal shows. If you did not start this there yourself,
close this page: whoever gave you the code would be signed in as you.</p>
<form method="post" action="{escape(action)}">
{_hidden(hidden)}
<label for="user_code">Code</label>
<input id="user_code" name="user_code" class="code" value="{escape(code)}" autocomplete="off"
 autocapitalize="characters" spellcheck="false" required maxlength="40"{wrong}>
<button class="main">Go on</button>
</form>""",
        status=200 if alert is None else 403,
    )


def origin_source(redirect_uri: str) -> str:
    """The content policy's words for where a redirect URI leads (CSP Level 3 §2.3.1)."""
    url = urlsplit(redirect_uri)
    # No source names an IPv6 address, and none more than the scheme of an app's own.
    exact = url.scheme in {"http", "https"} and "[" not in url.netloc
    return f"{url.scheme}://{url.netloc}" if exact else f"{url.scheme}:"


def _alert(text: str | None) -> str:
    return "" if text is None else f'<p class="bad" id="alert" role="alert">{escape(text)}</p>'


def _hidden(fields: Mapping[str, str]) -> str:
    return "\n".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in fields.items()
    )
