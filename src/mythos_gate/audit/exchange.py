"""One exchange with somebody else's service, bounded in time and size: it can neither hold us up nor fill memory."""

import asyncio
from typing import NamedTuple

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


async def post(asking: httpx.AsyncClient, url: str, body: bytes, kind: str) -> Answer:
    """`Unanswered`, by which nothing is known of what became of it there."""
    try:
        # httpx counts its time anew with each byte that comes.
        async with (
            asyncio.timeout(TIMEOUT),
            asking.stream("POST", url, content=body, headers={"Content-Type": kind}) as answer,
        ):
            given = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            return Answer(answer.status_code, given, await _read(answer))
    except TimeoutError as error:
        raise Unanswered(f"no answer within {TIMEOUT:g} seconds") from error
    except httpx.HTTPError as error:
        raise Unanswered(f"no answer ({type(error).__name__})") from error


async def _read(answer: httpx.Response) -> bytes:
    received = b""
    # Raw: unpacked it could be any size.
    async for part in answer.aiter_raw():
        received += part
        if len(received) > LIMIT:
            raise Unanswered(f"an answer of more than {LIMIT} bytes")
    return received
