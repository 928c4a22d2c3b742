"""Where the broker answers: the URL of its one node, or of each node of its cluster."""

import re
import secrets
from typing import Final

from yarl import URL

from messaging.errors import BrokerUrlError

HEARTBEAT: Final = 5
"""Seconds. Either side says something twice in that time; a peer that is silent for two of them
is gone (`messaging.silence`)."""

FORM: Final = "amqp://name:password@host:5672/vhost"

_SEPARATOR: Final = re.compile(r"[\s,]+(?=amqps?://)")
"""Only before another URL, for a comma may stand in a password and in a virtual host."""

_NO_HOST: Final = re.compile(r"[\s,]")

_SECONDS: Final = re.compile(r"[0-9]{1,4}")

_RANDOM: Final = secrets.SystemRandom()


def parse_urls(text: str) -> tuple[URL, ...]:
    """Read URLs of one broker, with spaces or commas between them.

    Heartbeats are added where a URL does not name its own. No error quotes a URL: it may hold a
    password.

    Raises:
        BrokerUrlError: it is none, or they are not nodes of one cluster, which have the same
            logins and virtual hosts.
    """
    urls = tuple(_parse_url(part) for part in _SEPARATOR.split(text.strip().rstrip(",")))
    if len({(url.path, url.user, url.password) for url in urls}) > 1:
        raise BrokerUrlError(
            "the URLs of a cluster's nodes differ in their host and port alone, not in name, "
            "password or virtual host"
        )
    if len({(url.host, url.port) for url in urls}) < len(urls):
        raise BrokerUrlError("the same node of the broker is named twice")
    return urls


def in_random_order(urls: tuple[URL, ...]) -> list[URL]:
    """Another order each time, so that clients spread over the nodes, or over those left."""
    return _RANDOM.sample(urls, len(urls))


def address(url: URL) -> str:
    """Host and port, which may be logged."""
    return f"{url.host}:{url.port}"


def _parse_url(text: str) -> URL:
    try:
        url = URL(text)
        port = url.port
    except ValueError as error:
        raise BrokerUrlError(f"not a URL of a broker, which has the form {FORM}") from error
    if url.scheme not in {"amqp", "amqps"} or not url.host or _NO_HOST.search(url.host):
        raise BrokerUrlError(
            f"a broker's URL has the form {FORM}; those of more nodes follow after a space or comma"
        )
    if port is None:
        url = url.with_port(5671 if url.scheme == "amqps" else 5672)
    if _SECONDS.fullmatch(url.query.get("heartbeat", str(HEARTBEAT))) is None:
        raise BrokerUrlError("the heartbeat of a broker's URL is a number of seconds: ?heartbeat=5")
    return url if "heartbeat" in url.query else url.update_query(heartbeat=HEARTBEAT)
