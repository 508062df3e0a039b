"""The hot routes, served before the framework: they are declared in FastAPI for the document, and answer the same.

A framework costs several times what a decision does. Both ways lead to the same functions, from bytes to bytes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mythos_gate.api import problems, wire
from mythos_gate.api.deps import Gate
from mythos_gate.api.edge import AUTHORIZATION, NO_STORE, Headers, ambiguous, finishing, over
from mythos_gate.errors import GateError


@dataclass(slots=True)
class Incoming:
    """What a hot route wants to know of a request; the body is still on its way."""

    authorization: str | None
    content_type: str
    request_id: str | None
    received: float
    receive: Receive
    limit: int | None = None  # bytes; None where the edge bounds the body

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> "Incoming":
        return cls._of(scope, receive, scope["state"]["received"], None)

    @classmethod
    def received_now(cls, scope: Scope, receive: Receive, limit: int) -> "Incoming":
        """`Invalid` if it is not clear who calls."""
        return cls._of(scope, receive, asyncio.get_running_loop().time(), limit)

    @classmethod
    def _of(cls, scope: Scope, receive: Receive, received: float, limit: int | None) -> "Incoming":
        authorization, content_type, request_id = None, "", None
        for name, value in scope["headers"]:
            if name == AUTHORIZATION:
                if authorization is not None:
                    raise ambiguous()
                authorization = value.decode("latin-1")
            elif name == b"content-type":
                content_type = value.decode("latin-1")
            elif name == b"x-request-id" and request_id is None:
                request_id = value.decode("latin-1")
        return cls(authorization, content_type, request_id, received, receive, limit)

    async def body(self) -> bytes:
        """`TooLarge`; what a client that hung up sent is not looked at."""
        sent: bytes = b""
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            sent += message.get("body", b"")
            if self.limit is not None and len(sent) > self.limit:
                raise over(self.limit)
            if not message.get("more_body", False):
                return sent


@dataclass(slots=True)
class Reply:
    """An answer of status 200: JSON, and what else the head says."""

    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def response(self) -> Response:
        made = Response(self.body, media_type="application/json")
        made.raw_headers += self.headers
        return made


logger = logging.getLogger(__name__)
Route: TypeAlias = Callable[[Gate, Incoming], Awaitable[Reply]]


class Front:
    """Dispatches POST on the hot paths; everything else is the framework's, other methods on these paths too.

    It stands before the edge as well, and does for the hot paths what that does for the others.
    """

    def __init__(self, app: ASGIApp, state: Any, routes: Mapping[str, Route], limit: int, said: Headers) -> None:
        self._app = app
        self._state = state
        self._routes = routes
        self._limit = limit
        self._said = said
        self._always = [*said, NO_STORE]
        self._written = wire.lines(self._always)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        incoming = None
        try:
            incoming = Incoming.received_now(scope, receive, self._limit)
            reply = await route(self._state.gate, incoming)
        except GateError as error:
            error = self._state.gate.counted(error, incoming and incoming.authorization)
            await problems.of(error)(scope, receive, finishing(scope, send, self._said))
            return
        except ClientDisconnect:
            return
        except Exception:
            logger.exception("a request failed")
            await problems.surprise()(scope, receive, finishing(scope, send, self._said))
            return
        if incoming.request_id is None and wire.wrote(send, self._written, reply.headers, reply.body):
            return
        headers = [
            (b"content-length", str(len(reply.body)).encode()),
            (b"content-type", b"application/json"),
            *reply.headers,
            *self._always,
        ]
        if incoming.request_id is not None:
            headers.append((b"x-request-id", incoming.request_id.encode("latin-1")))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
