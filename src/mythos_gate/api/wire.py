"""An answer written to uvicorn's connection in one piece, as its own `send` would: that looks at each header again.

It knows uvicorn's inside, whose version is pinned; whatever is not as it expects is left to `send`.
"""

from collections.abc import Sequence
from typing import Any

from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

HEAD = b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\ncontent-type: application/json\r\n%b\r\n%b"


def wrote(send: Send, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
    """Whether the answer to a POST was written: 200, JSON, with these headers, which need no look, beside the usual."""
    cycle: Any = getattr(send, "__self__", None)
    if type(cycle) is not RequestResponseCycle or not _plain(cycle):
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(HEAD % (_lines(cycle.default_headers), len(body), _lines(headers), body))
    cycle.message_event.set()
    cycle.on_response()
    return True


def _plain(cycle: RequestResponseCycle) -> bool:
    """Nothing is to be waited for, closed or logged."""
    return (
        cycle.keep_alive
        and not cycle.flow.write_paused
        and not cycle.disconnected
        and not cycle.response_started
        and not cycle.access_log
    )


def _lines(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])
