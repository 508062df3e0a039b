"""A bare ASGI application: reads the body and answers with as many bytes as the gate. What HTTP itself costs here."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

BODY = b" " * int(os.environ.get("BENCH_ECHO_BYTES", "0"))
HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(BODY)).encode()),
    (b"x-decision-id", b"0" * 36),
]


async def app(
    _scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
