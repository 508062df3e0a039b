"""The edge: what holds for every request, whatever its route."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mythos_gate.api import problems
from mythos_gate.errors import HeadersTooLarge, Invalid, TooLarge

# Where a whole file is sent, or a long list.
FILES = frozenset({"/v1/people/import", "/v1/agents/import", "/v1/endpoints/import", "/v1/data-sets", "/v1/screenings"})
AUTHORIZATION = b"authorization"
MOST_HEADERS, HEAD_LIMIT = 100, 32_768  # headers, and bytes of their names and values

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
# Nothing is to be taken for what it does not say that it is.
NO_SNIFFING = (b"x-content-type-options", b"nosniff")
# A year; of other hosts of the domain this one says nothing.
ONLY_TLS = (b"strict-transport-security", b"max-age=31536000")
# Of people and organizations: for whoever asked, once. What may be kept says so itself.
NO_STORE = (b"cache-control", b"no-store")
PAGE = (
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)


def always(public_url: str | None) -> Headers:
    """What every answer says: without TLS in front, nothing of TLS (RFC 6797 7.2)."""
    tls = (public_url or "").lower().startswith("https://")
    return (NO_SNIFFING, ONLY_TLS) if tls else (NO_SNIFFING,)


class Edge:
    """Bounds head and body, notes when the request was received, and adds to each answer what all of them say."""

    def __init__(self, app: ASGIApp, body_limit: int, import_limit: int, said: Headers) -> None:
        self._app = app
        self._body_limit = body_limit
        self._import_limit = import_limit
        self._said = said

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = finishing(scope, send, self._said)
        if _large(scope["headers"]):
            told = f"a request has at most {MOST_HEADERS} headers of together {HEAD_LIMIT} bytes"
            await problems.of(HeadersTooLarge(told), scope["path"])(scope, receive, send)
            return
        if sum(name == AUTHORIZATION for name, _ in scope["headers"]) > 1:
            await problems.of(ambiguous(), scope["path"])(scope, receive, send)
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

        await self._app(scope, bounded, send)


def _large(headers: Headers) -> bool:
    return len(headers) > MOST_HEADERS or sum(len(name) + len(value) for name, value in headers) > HEAD_LIMIT


def ambiguous() -> Invalid:
    """Who calls is said once: of two headers the gate would take one, and whoever stands before it the other."""
    return Invalid("Authorization: is there twice: send it once")


def over(limit: int) -> TooLarge:
    return TooLarge(f"a body has at most {limit} bytes")


def finishing(scope: Scope, send: Send, said: Headers) -> Send:
    """Sends along what every answer says, and the caller's X-Request-ID, if there is one."""
    echoed = [(name, value) for name, value in scope["headers"] if name == b"x-request-id"][:1]

    async def finish(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            message["headers"] = [*headers, *said, *_missing(headers), *echoed]
        await send(message)

    return finish


def _missing(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    there = {name.lower(): value for name, value in headers}
    html = there.get(b"content-type", b"").startswith(b"text/html")
    return [header for header in (NO_STORE, *(PAGE if html else ())) if header[0] not in there]
