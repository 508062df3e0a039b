"""The access log, for whoever wants one: who asked which route, what came of it, and how long it took.

It stands before all else, so that without it nothing is paid for it. Of a request it tells the route's template, never
its path, query or body; the key's id, which is no secret, and the caller's where it was looked up; and the request's
id, the caller's own only if it is one that a machine made: what else stands there may be a name.
"""

import logging
import re
from time import perf_counter
from typing import Any, Protocol
from uuid import uuid4

from starlette.types import Message, Receive, Scope, Send

logger = logging.getLogger("mythos_gate.access")
# UUIDs and trace ids, ULIDs.
MADE = re.compile(rb"[0-9a-fA-F-]{16,64}|[0-7][0-9A-HJKMNP-TV-Z]{25}")
KEY = re.compile(rb"(?i:bearer) +mgk_([0-9a-f]{16})_")


class App(Protocol):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Access:
    """Logs each request when it is over."""

    def __init__(self, app: App, hot: frozenset[str]) -> None:
        self._app = app
        self._hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = perf_counter(), 0  # 0: not answered

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, seen)
        finally:
            logger.info("request", extra=self._told(scope, status, perf_counter() - began))

    def _told(self, scope: Scope, status: int, seconds: float) -> dict[str, Any]:
        headers = dict(scope["headers"])
        sent, key = headers.get(b"x-request-id", b""), KEY.match(headers.get(b"authorization", b""))
        route, caller = scope.get("route"), scope.get("state", {}).get("caller")
        hot = scope["path"] if scope["path"] in self._hot else None
        return {
            "request": sent.decode() if MADE.fullmatch(sent) else str(uuid4()),
            "method": scope["method"],
            "route": getattr(route, "path_format", hot),
            "status": status,
            "ms": round(seconds * 1000, 3),
            "caller": getattr(caller, "id", None),
            "key": key and key[1].decode(),
        }
