"""Logging: structlog for all, JSON lines in production, and never a token, key or password."""

import logging
import sys
from typing import Final

import structlog
from structlog.typing import Processor

from messaging.tracing import CURRENT

_LIBRARIES: Final = {
    "aio_pika": logging.CRITICAL,  # what these two meet, `messaging` reports once, and typed
    "aiormq": logging.CRITICAL,
    "alembic": logging.WARNING,
    "httpx": logging.WARNING,
    "opentelemetry": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "urllib3": logging.WARNING,
    "uvicorn": logging.WARNING,
}
"""The level from which a library's lines count. At lower ones some quote URLs and statements."""


def configure_logging(*, service: str, log_format: str, level: str) -> None:
    """Send every log line, ours and the libraries', to standard error in one form."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _trace_ids,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.EventRenamer("message") if log_format == "json" else _unchanged,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name, threshold in _LIBRARIES.items():
        logging.getLogger(name).setLevel(threshold)
    structlog.contextvars.bind_contextvars(service=service)


def _trace_ids(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Which step of which trace a line is from, where anybody traces."""
    span = CURRENT.get()
    if span is not None:
        event["trace_id"], event["span_id"] = span.ids
    return event


def _unchanged(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return event
