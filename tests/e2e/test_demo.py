"""`make run` as a newcomer has it: its own Postgres, the demo programme, two requests to paste; and again."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from mythos_gate import embedded


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mgd-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        embedded.stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def demo(state: Path, port: int = 8421) -> Iterator[tuple[str, str]]:
    """What it prints, and its address once it is ready."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | {
        "MYTHOS_GATE_STATE": str(state)
    }
    starting = subprocess.Popen(
        [sys.executable, "-m", "mythos_gate", "demo", "--port", str(port)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with starting as process:
        try:
            assert process.stdout is not None
            printed = ""
            while "The entries that they left" not in printed:
                line = process.stdout.readline()
                assert line, printed
                printed += line
            (url,) = re.findall(r"runs at (\S+)", printed)
            for _ in range(200):
                try:
                    if httpx.get(f"{url}/health/ready").status_code == 200:
                        break
                except httpx.HTTPError:
                    time.sleep(0.05)
            yield printed, url
        finally:
            process.terminate()
            process.wait(20)


def paste(printed: str) -> list[dict[str, object]]:
    """The curl lines, carried out as they stand."""
    (key,) = re.findall(r"export KEY=(\S+)", printed)
    answers = []
    for line in re.findall(r"^  curl .*evaluation.*$", printed, re.MULTILINE):
        words = shlex.split(line.replace("$KEY", key))
        headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
        answers.append(httpx.post(words[2], headers=headers, content=words[words.index("-d") + 1]).json())
    return answers


def test_two_requests_to_paste_one_allowed_one_denied_on_every_start(state):
    with demo(state) as (printed, url):
        allowed, denied = paste(printed)
        assert (allowed["decision"], denied["decision"]) == (True, False)
        assert "GOV_AUTHORIZATION_MISSING" in json.dumps(denied)
        first_key = re.findall(r"export KEY=(\S+)", printed)[0]
        for _ in range(50):
            entries = httpx.get(
                f"{url}/v1/log/entries?type=decision", headers={"Authorization": f"Bearer {first_key}"}
            ).json()
            if len(entries["items"]) == 2:
                break
            time.sleep(0.1)  # the log's head is signed each second
        assert [item["body"]["outcome"] == "allow" for item in entries["items"]] == [True, False]
    # The database is killed; the next start finds another key, another port, and the same programme.
    pid = int((next(state.glob("data-*")) / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 8421))
        busy.listen()
        with demo(state) as (printed, url):
            assert url != "http://127.0.0.1:8421"
            allowed, denied = paste(printed)
            assert (allowed["decision"], denied["decision"]) == (True, False)
            refused = httpx.get(f"{url}/v1/log/entries", headers={"Authorization": f"Bearer {first_key}"})
            assert refused.status_code == 401


def test_a_database_with_another_programme_is_refused(database, tmp_path):
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("ALTER TABLE touched DISABLE TRIGGER ALL")
        owner.execute("INSERT INTO authorities (id, slug, name, kind) VALUES ('aut_1', 'x', 'X', 'vendor')")
    environment = os.environ | {"DATABASE_URL": database, "MYTHOS_GATE_STATE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "mythos_gate", "demo", "--port", "8471"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 1
    assert "a programme that is not the demo's" in done.stderr
