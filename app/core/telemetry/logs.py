"""One logging setup for every process: one line a record, UTC, to standard error; the SDK's core logs go through it."""

from __future__ import annotations

import logging
import sys
import time

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s"
CHATTY = ("httpx2", "kopf.objects")
"""Loggers that tell of each call and each event of a watch: their warnings are enough, but at DEBUG."""


def configure(level: str = "INFO") -> None:
    """Set the root handler; `level` is a name of the logging module."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter(FORMAT, datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    chosen = logging.getLogger().level
    for name in CHATTY:
        logging.getLogger(name).setLevel(chosen if chosen <= logging.DEBUG else max(logging.WARNING, chosen))


def flush() -> None:
    """Write out what the handlers hold."""
    for handler in logging.getLogger().handlers:
        handler.flush()
