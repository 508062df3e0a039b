"""A real Postgres for the tests, and databases in it that last as long as they are needed."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from mythos_gate import embedded


@contextmanager
def running() -> Iterator[str]:
    """The owner's URL: DATABASE_URL's server, or an embedded Postgres of the run's own."""
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
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                owner.execute(f"ALTER SYSTEM SET {setting} = off")
            owner.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        embedded.stop(state)
        shutil.rmtree(state, ignore_errors=True)


@contextmanager
def scratch(server: str, template: str = "template0") -> Iterator[str]:
    """The owner's URL of a fresh database, a copy of `template`."""
    name = f"mg_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as owner:
        # Where a checkpoint costs nothing, the files are copied in half the time that their blocks take over the log.
        owner.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
        owner.execute(f"DROP DATABASE {name} WITH (FORCE)")


def name_of(url: str) -> str:
    return make_url(url).database or ""


def _roomy_memory() -> str | None:
    """Hundreds of databases are made and dropped: in memory, where there is plenty."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 * 2**30
    return str(memory) if roomy else None
