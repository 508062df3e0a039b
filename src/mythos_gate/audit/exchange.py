"""One exchange with somebody else's service, bounded in time and size: it can neither hold us up nor fill memory."""

import asyncio
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

LIMIT = 65_536  # bytes of an answer
TIMEOUT = 5.0  # seconds for the whole of it


class Unanswered(Exception):
    """There was no answer, or not one that was read to its end."""


class Answer(NamedTuple):
    status: int
    kind: str  # the media type, without parameters
    body: bytes


def client() -> httpx.AsyncClient:
    """Redirects are not followed: whom we ask is what is configured."""
    return httpx.AsyncClient(follow_redirects=False, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"})


def is_safe(url: str) -> bool:
    """Whether nobody on the way can answer instead of whom it names: https, or http on this machine. ValueError."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or ""))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def post(asking: httpx.AsyncClient, url: str, body: bytes, kind: str) -> Answer:
    """`Unanswered`, by which nothing is known of what became of it there."""
    return await _asked(asking, "POST", url, content=body, headers={"Content-Type": kind})


async def get(asking: httpx.AsyncClient, url: str) -> Answer:
    """`Unanswered`."""
    return await _asked(asking, "GET", url)


async def _asked(asking: httpx.AsyncClient, method: str, url: str, **sent: Any) -> Answer:
    try:
        # httpx counts its time anew with each byte that comes.
        async with asyncio.timeout(TIMEOUT), asking.stream(method, url, **sent) as answer:
            given = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            return Answer(answer.status_code, given, await _read(answer))
    except TimeoutError as error:
        raise Unanswered(f"no answer within {TIMEOUT:g} seconds") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unanswered(f"no answer ({type(error).__name__})") from error


async def _read(answer: httpx.Response) -> bytes:
    received = b""
    # Raw: unpacked it could be any size.
    async for part in answer.aiter_raw():
        received += part
        if len(received) > LIMIT:
            raise Unanswered(f"an answer of more than {LIMIT} bytes")
    return received
