"""The access log and the process's own: what they tell of a request, and what they never do."""

import json
import logging
import logging.config
import sys

import pytest

from mythos_gate import logs
from mythos_gate.api.access import Access
from mythos_gate.api.front import Front
from mythos_gate.terms import Role
from tests.api.test_every_route import READS, WRITES, send, world  # noqa: F401  a fixture
from tests.api.test_resources import Rest
from tests.service import Service, question

pytestmark = pytest.mark.anyio
MADE = "0b7f3a52-9d6e-4a0f-8f4e-2f4f0a1c9d11"


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.setFormatter(logs.Lines())
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))


@pytest.fixture
def kept(monkeypatch):
    handler, logger = Kept(), logging.getLogger("mythos_gate.access")
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


@pytest.fixture
async def logged(service, tmp_path):
    async with Service.running(service.database, tmp_path / "logged", access_log=True) as running:
        running.keys = service.keys
        yield running


async def test_a_request_is_told_by_its_route_and_never_by_its_path(logged, kept):
    headers = logged.authorization(Role.COMPLIANCE)
    key = headers["Authorization"].split("_")[1]
    ((caller,),) = logged.sql("SELECT caller_id FROM api_keys WHERE id = %s", key)
    await logged.client.get("/v1/people/acme/us?x=Ursula", headers=headers | {"X-Request-ID": MADE})
    await logged.ask(question(), **{"X-Request-ID": "jane-doe"})
    await logged.client.get("/v1/nowhere/acme/us")
    read, asked, nowhere = [json.loads(line) for line in kept]
    common = {"level": "info", "logger": "mythos_gate.access", "message": "request"}
    assert all(line.pop("ms") > 0 and line.pop("time") for line in (read, asked, nowhere))
    assert read == common | {
        "request": MADE, "method": "GET", "route": "/v1/people/{reference}", "status": 400, "caller": caller, "key": key,
    }  # fmt: skip
    assert asked.pop("request") != "jane-doe"
    assert asked == common | {
        "method": "POST", "route": "/access/v1/evaluation", "status": 200, "caller": None, "key": key,
    }  # fmt: skip
    assert (nowhere["route"], nowhere["status"], nowhere["key"]) == (None, 404, None)


async def test_without_it_nothing_stands_before_the_decision_routes(service, logged):
    assert type(service.app.front) is Front
    assert type(logged.app.front) is Access


async def test_no_line_tells_what_is_sent_or_on_record(world, logged, kept):  # noqa: F811
    """Every route, with what it needs; then with keys and bodies that are wrong."""
    one = Rest(logged, world.one.headers)
    paths = [path for each in READS.values() for path in each]
    answers = [await one("GET", path) for path in paths]
    nobody: dict[str, str] = {}
    for (method, route), prepare in WRITES.items():
        if route in {"/v1/log/prune", "/v1/people/{reference}/erasure"}:
            continue  # needs a log or records of ten years
        try:
            path, members = await prepare(world)
        except AssertionError:
            continue  # what it needs is there already, from another route
        answers += [await send(Rest(logged, headers), method, path, members) for headers in (world.one.headers, nobody)]
    assert len(kept) == len(answers) > 100
    keys = [*logged.keys.values(), world.one.headers["Authorization"].removeprefix("Bearer ")]
    words = ("acme", "Ursula", "Smith", "ca?", "citizen", "us_person", "nationality", "?", "Bearer", "Jo New", *keys)
    assert [(word, line) for line in kept for word in words if word in line] == []


# --- the process's own --------------------------------------------------------------------------------------------


def formatted(message, *arguments, **more):
    record = logging.LogRecord("mythos_gate.x", logging.ERROR, "x.py", 1, message, arguments, more.get("exc_info"))
    return json.loads(logs.Lines().format(record))


def test_of_an_error_stands_where_it_was_raised_and_never_what_it_said():
    try:
        raise ValueError("a row: (Utopia)")
    except ValueError:
        line = formatted("it failed: %s", 7, exc_info=sys.exc_info())
    assert "Utopia" not in json.dumps(line)
    assert (line["message"], line["error"], line["level"]) == ("it failed: 7", "ValueError", "error")
    assert "test_of_an_error_stands_where" in line["where"][0]


@pytest.mark.parametrize("said", [f"Bearer mgk_{'a' * 16}_{'b' * 64}_1", "citizenships: IR", "acme/us is gone"])
def test_the_watch_over_the_whole_session_is_not_blind(watching, said):
    seen = watching.seen
    logging.getLogger("mythos_gate.audit").error("x %s", said)
    assert watching.seen == seen + 1
    assert said in watching.leaks.pop()


def test_a_line_is_one_line():
    assert "\n" not in logs.Lines().format(logging.LogRecord("x", 30, "x", 1, "a\nb", (), None))
    logging.config.DictConfigurator(logs.config(access=True))
