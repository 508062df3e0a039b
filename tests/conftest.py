"""A real Postgres, migrated once; a fresh database for each test that asks for one."""

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest

from mythos_gate import db, logs
from mythos_gate.terms import Role
from tests import postgres
from tests.service import Service, proven

# What an operator has set is for the service, not for its tests.
for setting in [name for name in os.environ if name.startswith("MYTHOS_GATE_") and name != "MYTHOS_GATE_SHARED"]:
    del os.environ[setting]
# A busy machine is no failure.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgres.running() as url:
        yield url


@pytest.fixture(scope="session")
def template(server: str) -> Iterator[str]:
    """A migrated database to copy."""
    with postgres.scratch(server) as url:
        db.upgrade(url)
        yield url


@pytest.fixture(scope="session")
def programme(
    server: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[Role, str]]]:
    """A database to copy in which policy, data and two organizations are in force, and its keys."""
    with postgres.scratch(server, postgres.name_of(template)) as url:

        async def load() -> dict[Role, str]:
            async with Service.running(url, tmp_path_factory.mktemp("programme")) as running:
                await running.prepare()
                await running.load_programme()
                return running.keys

        yield url, asyncio.run(load())


@pytest.fixture
def database(server: str, template: str) -> Iterator[str]:
    """The owner's URL of a fresh, migrated database."""
    with postgres.scratch(server, postgres.name_of(template)) as url:
        yield url


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """DATABASE_URL says where the tests make their databases; the code under test is told where its own is."""
    monkeypatch.delenv("DATABASE_URL", raising=False)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def service(
    server: str, programme: tuple[str, dict[Role, str]], tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Service]:
    """The running service over a copy of the programme. If the test is marked so, its log is verified at the end."""
    url, keys = programme
    with postgres.scratch(server, postgres.name_of(url)) as own:
        async with Service.running(own, tmp_path) as running:
            running.keys = dict(keys)
            yield running
            if request.node.get_closest_marker("verified"):
                await running.sequence()
                proven(await running.exported(tmp_path / "log.zip"), running.trust)


# --- what the gate's own loggers say while all tests run -----------------------------------------------------------

# Whole keys; what decides about nationality; people and their external ids.
NEVER = re.compile(
    r"mg[ki]_[0-9a-f]{16}_[0-9a-f]{64}|us_person|citizenship|permanent_resid|nationalit|utopia|acme/us|acme/ca|zebulon"
    r"|ursula|camille",
    re.IGNORECASE,
)


class Watching(logging.Handler):
    """Keeps the lines that the service would write and must not."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logs.Lines())
        self.seen, self.leaks = 0, list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(("mythos_gate", "uvicorn")):
            self.seen += 1
            line = self.format(record)
            # File names of the trace are the tests' own.
            if NEVER.search(re.sub(r'"where":\[[^\]]*\]', "", line)):
                self.leaks.append(line)


@pytest.fixture(scope="session", autouse=True)
def watching() -> Iterator[Watching]:
    """No line of the whole session tells a key, a nationality or who somebody is."""
    handler = Watching()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)
    assert handler.leaks == []
