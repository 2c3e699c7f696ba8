"""Structured logs: one JSON object a line on standard error, with the time, the level, the event and its fields.

An event is one write to the file, so that a process killed at any time, or another process writing beside it, leaves no
line that the next one continues.

What may be a field is names, fingerprints, ids, counts and states. Never data, keys, shares, or bytes from a peer.
"""

import logging
import sys

import structlog


def configure(level: str) -> None:
    """Make structlog write JSON lines to standard error from `level` ("debug", "info", "warning", "error") up."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
