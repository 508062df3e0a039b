"""Over uvicorn's connection an answer is written in one piece: the client sees what it would have seen without."""

import asyncio
import contextlib
import json
import logging
import re
import socket

import pytest
import uvicorn

from mythos_gate.api import wire
from mythos_gate.terms import Role
from tests.service import question

pytestmark = pytest.mark.anyio


@pytest.fixture
async def port(service, monkeypatch):
    """The service behind a real uvicorn; its parts have been started already."""
    # The tests' own logging listens to every logger; a gate that serves has no access log.
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "hasHandlers", lambda: False)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(service.app, lifespan="off", access_log=False, log_level="critical", http=wire.Protocol)
    )
    monkeypatch.setattr(server, "capture_signals", contextlib.nullcontext)
    serving = asyncio.create_task(server.serve([listening]))
    yield listening.getsockname()[1]
    server.should_exit = True
    await serving


def asking(service, *headers, version="1.1"):
    body = json.dumps(question()).encode()
    lines = [
        f"POST /access/v1/evaluation HTTP/{version}", "Host: gate", "Content-Type: application/json",
        f"Authorization: {service.authorization(Role.GATEWAY)['Authorization']}", f"Content-Length: {len(body)}",
        *headers,
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def answers(port, *sent):
    """The head and the body of each answer, over one connection; and whether it was closed behind the last."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(sent))
    seen = []
    for _ in sent:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(value_of("content-length", head))
        seen.append((head, json.loads(await reader.readexactly(length))))
    try:
        closed = await asyncio.wait_for(reader.read(), 0.2) == b""
    except TimeoutError:
        closed = False
    writer.close()
    return seen, closed


def value_of(name, head):
    (found,) = re.findall(f"^{name}: (.+)\r$", head.decode(), re.MULTILINE)
    return found


def told(head):
    """The status and the headers without what differs from answer to answer."""
    lines = head.decode().split("\r\n")
    return lines[0], {re.sub(r"(x-decision-id|date): .*", r"\1", line) for line in lines[1:]}


@pytest.fixture
def written(monkeypatch):
    """For each answer whether it was written in one piece."""
    seen, really = [], wire.wrote

    def wrote(*arguments):
        seen.append(really(*arguments))
        return seen[-1]

    monkeypatch.setattr(wire, "wrote", wrote)
    return seen


async def test_the_answer_is_the_one_that_send_gives(service, port, written, monkeypatch):
    await service.ask(question())  # claims the seat
    written.clear()
    ((head, body),), closed = await answers(port, asking(service))
    assert written == [True]
    monkeypatch.setattr(wire, "wrote", lambda *_: False)
    ((plain_head, plain_body),), plainly_closed = await answers(port, asking(service))
    assert told(head) == told(plain_head)
    assert (closed, plainly_closed) == (False, False)
    assert body["decision"] is plain_body["decision"] is True
    assert value_of("x-decision-id", head) == body["context"]["id"]


async def test_requests_sent_at_once_over_one_connection_are_answered_in_turn(service, port, written):
    seen, closed = await answers(port, *[asking(service)] * 5)
    assert ([body["decision"] for _, body in seen], closed) == ([True] * 5, False)
    assert len({body["context"]["id"] for _, body in seen}) == 5
    assert written == [True] * 5


@pytest.mark.parametrize(
    ("headers", "version", "closes"),
    [(["Connection: close"], "1.1", True), ([], "1.0", True), (["X-Request-ID: r-1"], "1.1", False)],
    ids=["the client closes", "an old client", "a request with an id"],
)
async def test_what_is_unusual_is_left_to_send(service, port, written, headers, version, closes):
    ((head, body),), closed = await answers(port, asking(service, *headers, version=version))
    assert (body["decision"], closed) == (True, closes)
    assert (b"x-request-id: r-1" in head) is ("X-Request-ID: r-1" in headers)
    assert True not in written
