"""A real Postgres, migrated once; a fresh database for each test that asks for one."""

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import psycopg
import pytest
from sqlalchemy import make_url

from mythos_gate import db, embedded
from mythos_gate.terms import Role
from tests.service import Service

# What an operator has set is for the service, not for its tests.
for setting in [name for name in os.environ if name.startswith("MYTHOS_GATE_") and name != "MYTHOS_GATE_SHARED"]:
    del os.environ[setting]
# A busy machine is no failure.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The owner's URL: DATABASE_URL's server, or an embedded Postgres of the test run's own."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    state = Path(tempfile.mkdtemp(prefix="mg-", dir=_roomy_memory()))
    # As root the server runs as another user, who must get in.
    state.chmod(0o711)
    try:
        url = embedded.start(state)
        with psycopg.connect(url, autocommit=True) as owner:
            # What a test leaves behind need not survive a power cut.
            owner.execute("ALTER SYSTEM SET fsync = off")
            owner.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        embedded.stop(state)
        shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="session")
def template(server: str) -> Iterator[str]:
    """A migrated database to copy."""
    with _scratch(server, "template0") as url:
        db.upgrade(url)
        yield url


@pytest.fixture(scope="session")
def programme(
    server: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[Role, str]]]:
    """A database to copy in which policy, data and two organizations are in force, and its keys."""
    with _scratch(server, _name(template)) as url:

        async def load() -> dict[Role, str]:
            async with Service.running(url, tmp_path_factory.mktemp("programme")) as running:
                await running.prepare()
                await running.load_programme()
                return running.keys

        yield url, asyncio.run(load())


@pytest.fixture
def database(server: str, template: str) -> Iterator[str]:
    """The owner's URL of a fresh, migrated database."""
    with _scratch(server, _name(template)) as url:
        yield url


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """DATABASE_URL says where the tests make their databases; the code under test is told where its own is."""
    monkeypatch.delenv("DATABASE_URL", raising=False)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def service(server: str, programme: tuple[str, dict[Role, str]], tmp_path: Path) -> AsyncIterator[Service]:
    """The running service over a copy of the programme."""
    url, keys = programme
    with _scratch(server, _name(url)) as own:
        async with Service.running(own, tmp_path) as running:
            running.keys = dict(keys)
            yield running


def _roomy_memory() -> str | None:
    """Hundreds of databases are made and dropped: in memory, where there is plenty."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 * 2**30
    return str(memory) if roomy else None


@contextmanager
def _scratch(server: str, template: str) -> Iterator[str]:
    name = f"mg_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as owner:
        owner.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
        owner.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _name(url: str) -> str:
    return make_url(url).database or ""
