"""`serve --workers`: several processes behind one address; one that ends is replaced, and none stays behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql

from mythos_gate import sequencing
from mythos_gate.settings import Settings
from tests import postgres
from tests.service import DIGEST_KEY, until

pytestmark = pytest.mark.anyio


@contextmanager
def serving(
    database: str, folder: Path, workers: int, program: Sequence[str] = ("-m", "mythos_gate"), **more: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "DATABASE_URL": database,
        "MYTHOS_GATE_STATE": str(folder),
        "MYTHOS_GATE_DIGEST_KEY": DIGEST_KEY,
        **more,
    }
    sequencing.make_keys(Settings(state=folder))
    command = [sys.executable, *program, "serve", "--port", str(port), "--workers", str(workers)]
    # A pipe that nobody reads would hold up whoever tells much of what failed.
    with (
        (folder / "errors").open("w") as errors,
        subprocess.Popen(command, env=environment, stderr=errors, text=True) as process,
    ):
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def told(folder: Path) -> str:
    return (folder / "errors").read_text()


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live").status_code == 200
    except httpx.TransportError:
        return False


def children(process: subprocess.Popen[str]) -> set[int]:
    return {int(each) for each in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()}


async def test_a_worker_that_ends_is_replaced_and_none_outlives_the_first(database, tmp_path):
    with serving(database, tmp_path, 2) as (process, url):
        await until(lambda: is_up(url), 60)
        before = children(process)
        assert len(before) == 3  # the sequencer is one
        os.kill(max(before), signal.SIGKILL)
        await until(lambda: len(children(process)) == 3 and children(process) != before)
        await until(lambda: is_up(url), 60)
        now = children(process)
    assert process.returncode == 0
    time.sleep(0.1)
    assert not any(Path(f"/proc/{each}").exists() for each in now)


async def test_none_outlives_the_first_that_was_killed(database, tmp_path):
    with serving(database, tmp_path, 2) as (process, url):
        await until(lambda: is_up(url), 60)
        left = children(process)
        process.kill()
        await until(lambda: not any(Path(f"/proc/{each}").exists() for each in left))


@contextmanager
def nobody_connects(server: str, database: str) -> Iterator[None]:
    """As while the database is starting: whoever is connected is thrown out, and nobody gets in."""
    name = postgres.name_of(database)
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format
    with psycopg.connect(server, autocommit=True) as owner:
        owner.execute(allow(sql.Identifier(name), sql.SQL("false")))
        owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            owner.execute(allow(sql.Identifier(name), sql.SQL("true")))


async def test_what_cannot_be_replaced_is_tried_again_until_it_can(server, database, tmp_path):
    with serving(database, tmp_path, 2) as (process, url):
        await until(lambda: is_up(url), 60)
        began = time.monotonic()
        with nobody_connects(server, database):
            for each in children(process):
                os.kill(each, signal.SIGKILL)
            time.sleep(5)
            assert process.poll() is None
        lasted = time.monotonic() - began
        await until(lambda: is_up(url), 60)
        assert len(children(process)) == 3
    assert process.returncode == 0
    # Of each of the two one try a second, at most, and of each try one line.
    lines = [each for each in told(tmp_path).splitlines() if "start" in each]
    assert 2 <= len(lines) <= 2 * lasted
    assert [each for each in lines if "the service cannot start: the database does not answer" not in each] == []
    assert [each for each in told(tmp_path).splitlines() if "uvicorn" in each or "Traceback" in each] == []


async def test_a_sequencer_that_cannot_start_ends_nothing_once_the_gate_was_up(database, tmp_path):
    keys = tmp_path / "log-keys"
    with serving(database, tmp_path, 1) as (process, url):
        await until(lambda: is_up(url), 60)
        keys.rename(tmp_path / "elsewhere")
        for each in children(process):
            os.kill(each, signal.SIGKILL)
        time.sleep(3)
        assert process.poll() is None
        assert is_up(url)
        (tmp_path / "elsewhere").rename(keys)
    assert 2 <= told(tmp_path).count("no key signs the log") <= 4


async def test_an_orphan_that_ends_ends_nothing(database, tmp_path):
    """The first process of a container inherits whatever others leave."""
    orphan = "import os, time; from mythos_gate.cli import app; os.fork() or (time.sleep(6), os._exit(0)); app()"
    with serving(database, tmp_path, 1, ["-c", orphan]) as (process, url):
        await until(lambda: is_up(url), 60)
        await until(lambda: len(children(process)) == 2, 60)
        time.sleep(0.5)
        assert is_up(url)
    assert process.returncode == 0


async def test_without_a_key_for_the_log_nothing_is_served_unless_another_process_signs(database, tmp_path):
    environment = {"DATABASE_URL": database, "MYTHOS_GATE_STATE": str(tmp_path), "MYTHOS_GATE_DIGEST_KEY": DIGEST_KEY}
    command = [sys.executable, "-m", "mythos_gate", "serve", "--port", "0"]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no key signs the log: run `mythos-gate db upgrade`" in done.stderr
    alone = [*command, "--no-sequencer"]
    with subprocess.Popen(alone, env=os.environ | environment, stderr=subprocess.DEVNULL, text=True) as process:
        await until(lambda: len(children(process)) == 1, 60)
        process.terminate()


async def test_workers_that_cannot_start_are_not_tried_for_ever(tmp_path):
    with serving("postgresql://127.0.0.1:1/none", tmp_path, 2) as (process, _):
        process.wait(timeout=60)
        assert process.returncode == 3
        assert "the service cannot start: the database does not answer" in told(tmp_path)
