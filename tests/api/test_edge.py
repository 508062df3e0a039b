"""What every answer says, whichever route gives it, and how large the head of a request may be."""

import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest
from fastapi.responses import HTMLResponse
from starlette.applications import Starlette
from starlette.routing import Route

from mythos_gate import cli
from mythos_gate.api.edge import HEAD_LIMIT, MOST_HEADERS, Edge, always
from mythos_gate.app import HOT
from mythos_gate.terms import Role
from tests.api.test_every_route import routes
from tests.api.test_wire import answers, asking, port, value_of  # noqa: F401  a fixture
from tests.service import Service, question

pytestmark = pytest.mark.anyio
# What may be kept, and says so itself.
KEPT = {"/.well-known/authzen-configuration", "/checkpoint"}


async def everything(service):
    """An answer of each route, by its path; refused, most of them."""
    for method, path in [*routes(), *(("GET", path) for path in (*KEPT, "/health/live", "/openapi.json", "/nowhere"))]:
        concrete = re.sub(r"{\w+}", "x", path)
        yield path, await service.client.request(method, concrete, headers=service.authorization(Role.COMPLIANCE))
    yield "/405", await service.client.delete("/v1/stops")


async def test_every_answer_says_that_it_is_what_it_says_and_is_not_to_be_kept(service):
    seen = 0
    async for path, answer in everything(service):
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"], path
        assert "strict-transport-security" not in answer.headers
        if path not in KEPT or answer.status_code >= 400:
            assert answer.headers.get_list("cache-control") == ["no-store"], path
        seen += 1
    assert seen > 90


async def test_decisions_say_it_too(service):
    for path in ("/access/v1/evaluation", "/access/v1/evaluations"):
        for headers, status in ((service.authorization(Role.GATEWAY), 200), ({}, 401)):
            answer = await service.client.post(path, json=question(), headers=headers)
            assert answer.status_code == status
            assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
            assert answer.headers.get_list("cache-control") == ["no-store"]


async def test_over_a_real_connection_as_well(service, port):  # noqa: F811
    ((head, body),), _ = await answers(port, asking(service))
    assert body["decision"] is True
    assert [value_of(name, head) for name in ("x-content-type-options", "cache-control")] == ["nosniff", "no-store"]


@pytest.mark.parametrize(
    ("url", "said"), [("https://gate.example/t", True), ("HTTPS://x", True), ("http://x", False), (None, False)]
)
def test_only_behind_tls_it_asks_for_tls(url, said):
    assert (b"strict-transport-security" in dict(always(url))) is said


async def test_behind_tls_every_answer_asks_for_tls(service, tmp_path):
    async with Service.running(service.database, tmp_path / "tls", public_url="https://gate.example") as tls:
        tls.keys = service.keys
        for answer in (await tls.ask(question()), await tls.get("/v1/stops"), await tls.client.get("/nowhere")):
            assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_a_page_runs_nothing_and_is_framed_by_nobody():
    async def of(content_type, **headers):
        async def page(_):
            return HTMLResponse("<p>x", media_type=content_type, headers=headers)

        app = Edge(Starlette(routes=[Route("/", page)]), 10, 10, always(None))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gate") as client:
            return (await client.get("/")).headers

    page = await of("text/html")
    assert "default-src 'none'" in page["content-security-policy"]
    assert "frame-ancestors 'none'" in page["content-security-policy"]
    assert (page["x-frame-options"], page["referrer-policy"]) == ("DENY", "no-referrer")
    assert "content-security-policy" not in await of("text/plain")
    own = await of("text/html", **{"Content-Security-Policy": "default-src 'self'", "Cache-Control": "max-age=5"})
    assert (own["content-security-policy"], own["cache-control"]) == ("default-src 'self'", "max-age=5")


# --- the head of a request --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [{f"x-{number}": "x" for number in range(MOST_HEADERS)}, {"x-long": "x" * HEAD_LIMIT}],
    ids=["many headers", "a long one"],
)
async def test_a_large_head_is_told(service, headers):
    answer = await service.client.get("/v1/stops", headers=headers | {"X-Request-ID": "r-1"})
    assert (answer.status_code, answer.headers["content-type"]) == (431, "application/problem+json")
    assert answer.json()["type"] == "urn:mythos-gate:problem:headers-too-large"
    assert (answer.headers["x-request-id"], answer.headers["x-content-type-options"]) == ("r-1", "nosniff")


async def raw(port, *sent):  # noqa: F811
    """Status and problem of what is no request; the connection is closed behind it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for each in sent:
        writer.write(each)
        await writer.drain()
        await asyncio.sleep(0.02)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert value_of("content-type", head + b"\r\n") == "application/problem+json"
    return int(head.split()[1]), json.loads(body)


async def test_a_head_without_an_end_is_cut_off(port):  # noqa: F811
    lines = b"".join(b"x-%d: %b\r\n" % (number, b"x" * 1_000) for number in range(20))
    status, problem = await raw(port, b"GET / HTTP/1.1\r\n", lines, lines, b"x: 1\r\n")
    assert (status, problem["type"]) == (431, "urn:mythos-gate:problem:headers-too-large")
    status, problem = await raw(port, b"GET / HTTP/1.1\r\nx: ", b"x" * 20_000, b"x" * 20_000)
    assert status == 431


async def test_a_head_in_small_pieces_is_a_head(service, port):  # noqa: F811
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for byte in asking(service):
        writer.write(bytes([byte]))
        await writer.drain()
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00 no HTTP \r\n\r\n", b"GET / HTTP/1.1\r\nx y: 1\r\n\r\n"])
async def test_what_is_no_http_is_told_as_a_problem(port, sent):  # noqa: F811
    status, problem = await raw(port, sent)
    assert (status, problem["type"], problem["detail"]) == (
        400,
        "urn:mythos-gate:problem:invalid",
        "invalid http request received",
    )


async def test_the_service_runs_behind_this_protocol():
    assert "http=wire.Protocol" in Path(cli.__file__).read_text()


@pytest.mark.parametrize("path", ["/v1/people", "/v1/log", "/forward-auth", "/access/v1/search/subject", *HOT])
async def test_who_calls_is_said_once(service, path):
    """One key would be taken by whoever stands before the gate, and the other by the gate."""
    one, two = (service.keys[role] for role in (Role.GATEWAY, Role.COMPLIANCE))
    method = "GET" if path in {"/v1/people", "/v1/log", "/forward-auth"} else "POST"
    for first, second in ((one, two), (two, one), (two, two)):
        headers = [("Authorization", f"Bearer {first}"), ("authorization", f"Bearer {second}"), ("X-Request-ID", "r-1")]
        answer = await service.client.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (400, "Authorization: is there twice: send it once")
        assert (answer.headers["content-type"], answer.headers["x-request-id"]) == ("application/problem+json", "r-1")
