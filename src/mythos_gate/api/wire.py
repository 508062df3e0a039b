"""uvicorn's connection: the head of a request is bounded, and an answer can be written to it in one piece.

uvicorn's own `send` would do the latter, and look at each header again. This knows uvicorn's inside, whose version is
pinned; whatever is not as it expects is left to `send`.
"""

from collections.abc import Sequence
from typing import Any

from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mythos_gate.api import problems
from mythos_gate.api.edge import HEAD_LIMIT
from mythos_gate.errors import GateError, HeadersTooLarge, Invalid

HEAD = b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\ncontent-type: application/json\r\n%b%b\r\n%b"

REFUSED = b"HTTP/1.1 %d \r\n%bconnection: close\r\n\r\n%b"

_last: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")
_receive = HttpToolsProtocol.data_received


def wrote(send: Send, fixed: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
    """Whether the answer to a POST was written: 200, JSON, with these headers, which need no look, beside the usual.

    `fixed` are those that are the same each time, as `lines`.
    """
    cycle: Any = getattr(send, "__self__", None)
    if type(cycle) is not RequestResponseCycle or not _plain(cycle):
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(HEAD % (_usual(cycle.default_headers), len(body), fixed, lines(headers), body))
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


def _usual(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Uvicorn makes this list anew once a second."""
    global _last  # noqa: PLW0603
    if _last[0] is not headers:
        _last = (headers, lines(headers))
    return _last[1]


def lines(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


class Protocol(HttpToolsProtocol):
    """uvicorn's, which would take in a head without an end. What fits into it is looked at by `edge`."""

    _head = 0  # bytes of one that goes on; the last piece is not counted, which asyncio bounds

    def data_received(self, data: bytes) -> None:
        _receive(self, data)
        if self.scope is None or "method" in self.scope:
            if self._head:
                self._head = 0
            return
        self._head += len(data)
        if self._head > HEAD_LIMIT and not self.transport.is_closing():
            self._refuse(HeadersTooLarge("the head of the request has no end"))

    def send_400_response(self, msg: str) -> None:
        self._refuse(Invalid(msg.lower().rstrip(".")))

    def _refuse(self, error: GateError) -> None:
        answer = problems.of(error)
        body, usual = bytes(answer.body), lines([*self.server_state.default_headers, *answer.raw_headers])
        self.transport.write(REFUSED % (answer.status_code, usual, body))
        self.transport.close()
