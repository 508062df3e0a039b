"""The process's own log: a line of JSON for each record, without what anybody sent or what is on record.

Of an exception stand its type and where it was raised, never its message: that of a database quotes the row.
"""

import logging
import traceback
from datetime import UTC, datetime
from typing import Any

import orjson

# What `api.access` tells of a request.
MEMBERS = ("request", "method", "route", "status", "ms", "caller", "key")


class Lines(logging.Formatter):
    """`time` in UTC, `level`, `logger`, `message`; of a request MEMBERS; of an error `error` and `where`."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": at, "level": record.levelname.lower(), "logger": record.name}
        line["message"] = record.getMessage()
        line |= {name: getattr(record, name) for name in MEMBERS if hasattr(record, name)}
        if record.exc_info and record.exc_info[1] is not None:
            line |= _raised(record.exc_info[1])
        return orjson.dumps(line, default=str).decode()


def _raised(error: BaseException) -> dict[str, Any]:
    state = getattr(error, "sqlstate", None)
    where = [f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in traceback.extract_tb(error.__traceback__)]
    return {"error": type(error).__name__, "where": where} | ({"sqlstate": state} if state else {})


class Told(logging.Filter):
    """All but what the server adds when the service could not start: the service has said why (`app`)."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name != "uvicorn.error" or record.msg != "Application startup failed. Exiting."


def config(*, access: bool) -> dict[str, Any]:
    """For `logging.config`: everything to stderr. The access log only if it is wanted."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": Lines}},
        "filters": {"told": {"()": Told}},
        "handlers": {
            "lines": {
                "class": "logging.StreamHandler",
                "formatter": "lines",
                "filters": ["told"],
                "stream": "ext://sys.stderr",
            }
        },
        "root": {"handlers": ["lines"], "level": "WARNING"},
        "loggers": {"mythos_gate.access": {"level": "INFO" if access else "CRITICAL"}},
    }
