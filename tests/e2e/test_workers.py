"""`serve --workers`: several processes behind one address; one that ends is replaced, and none stays behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from mythos_gate import sequencing
from mythos_gate.settings import Settings
from tests.service import DIGEST_KEY, until

pytestmark = pytest.mark.anyio


@contextmanager
def serving(database: str, folder: Path, workers: int, **more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
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
    command = [sys.executable, "-m", "mythos_gate", "serve", "--port", str(port), "--workers", str(workers)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=30)


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
        assert process.returncode != 0
