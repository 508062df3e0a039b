"""The hot routes, served before the framework: they are declared in FastAPI for the document, and answer the same.

A framework costs several times what a decision does. Both ways lead to the same functions, from bytes to bytes.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mythos_gate.api import problems
from mythos_gate.api.deps import Gate
from mythos_gate.errors import GateError


@dataclass(slots=True)
class Incoming:
    """What a hot route wants to know of a request; the body is still on its way."""

    authorization: str | None
    content_type: str
    request_id: str | None
    received: float
    receive: Receive

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> "Incoming":
        authorization, content_type, request_id = None, "", None
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value.decode("latin-1")
            elif name == b"content-type":
                content_type = value.decode("latin-1")
            elif name == b"x-request-id":
                request_id = value.decode("latin-1")
        return cls(authorization, content_type, request_id, scope["state"]["received"], receive)

    async def body(self) -> bytes:
        """`TooLarge` from the edge; what a client that hung up sent is not looked at."""
        sent: bytes = b""
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            sent += message.get("body", b"")
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
    """Dispatches POST on the hot paths; everything else is the framework's, other methods on these paths too."""

    def __init__(self, app: ASGIApp, state: Any, routes: Mapping[str, Route]) -> None:
        self._app = app
        self._state = state
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        try:
            reply = await route(self._state.gate, Incoming.of(scope, receive))
        except GateError as error:
            await problems.of(error)(scope, receive, send)
            return
        except ClientDisconnect:
            return
        except Exception:
            logger.exception("a request failed")
            await problems.surprise()(scope, receive, send)
            return
        headers = [
            (b"content-length", str(len(reply.body)).encode()),
            (b"content-type", b"application/json"),
            *reply.headers,
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
