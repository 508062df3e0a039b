"""The edge: what holds for every request, whatever its route."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mythos_gate.errors import TooLarge

# Where a whole file is sent, or a long list.
FILES = frozenset({"/v1/people/import", "/v1/agents/import", "/v1/endpoints/import", "/v1/data-sets", "/v1/screenings"})


class Edge:
    """Bounds the body, notes when the request was received, and returns the caller's X-Request-ID, on errors too."""

    def __init__(self, app: ASGIApp, body_limit: int, import_limit: int) -> None:
        self._app = app
        self._body_limit = body_limit
        self._import_limit = import_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["received"] = asyncio.get_running_loop().time()
        limit = self._import_limit if scope["path"] in FILES else self._body_limit
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise over(limit)
            return message

        await self._app(scope, bounded, echoing(scope, send))


def over(limit: int) -> TooLarge:
    return TooLarge(f"a body has at most {limit} bytes")


def echoing(scope: Scope, send: Send) -> Send:
    """Sends the caller's X-Request-ID along, if there is one."""
    request_id = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
    if request_id is None:
        return send

    async def echo(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
        await send(message)

    return echo
