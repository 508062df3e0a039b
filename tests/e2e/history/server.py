"""Server processes for a history: the service as it is, or with delays, holds or one broken guard in it.

`python -m tests.e2e.history.server` imports the service once and forks a process for each line that it is sent: ready
in a moment. It ends, and they with it, when its input does.
"""

import asyncio
import json
import os
import random
import signal
import socket
import sys
import time
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn

from mythos_gate import app
from mythos_gate.audit.log import Committer
from mythos_gate.decision.records import Pip
from mythos_gate.revision import Known
from mythos_gate.settings import Settings
from tests.e2e.history.broken import BROKEN
from tests.service import DIGEST_KEY

DELAYED = 0.1  # of the requests
AHEAD = timedelta(seconds=3)  # more than what expires takes to (`changes.SOON`)


class Spot:
    """A place between two steps of a decision: passed at once, after a delay at random, or when it is let go.

    A test that makes the file `hold-NAME` finds it renamed to `held-NAME` when the next request is there, and lets it
    go by removing that. With `stop` the whole process waits, as if it were stopped.
    """

    def __init__(self, name: str, folder: Path, delay: float, *, stop: bool = False) -> None:
        self.hold, self.held = folder / f"hold-{name}", folder / f"held-{name}"
        self.delay, self.stop = delay, stop

    async def __call__(self) -> None:
        if self.delay and random.random() < DELAYED:
            await asyncio.sleep(random.uniform(0, self.delay))
        if not self.hold.exists():
            return
        self.hold.rename(self.held)
        while self.held.exists():
            time.sleep(0.005) if self.stop else await asyncio.sleep(0.005)


def arrange(folder: Path, delay: float, broken: str | None) -> None:
    """Put the spots in, and break what is to be broken."""
    read, commit, answer = (
        Spot("read", folder, delay),
        Spot("commit", folder, delay),
        Spot("answer", folder, delay, stop=True),
    )
    really_read, really_commit, really_now = Pip.read, Committer.commit, Known.now
    ahead = folder / "ahead"

    class Slow:
        """A connection whose rows take their time."""

        def __init__(self, connection: Any) -> None:
            self.connection = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self.connection, name)

        async def fetch(self, *arguments: Any) -> Any:
            rows = await self.connection.fetch(*arguments)
            await read()
            return rows

    async def reading(self: Pip, connection: Any, *arguments: Any) -> Any:
        return await really_read(self, Slow(connection), *arguments)  # type: ignore[arg-type]

    async def committed(self: Committer, *arguments: Any) -> Any:
        await commit()
        outcome = await really_commit(self, *arguments)
        await answer()
        return outcome

    def now(self: Known) -> tuple[datetime, datetime]:
        """While there is a file of this name, what was read of the database's clock is ahead of it."""
        early, late = really_now(self)
        return (early + AHEAD, late + AHEAD) if ahead.exists() else (early, late)

    Known.now = now  # type: ignore[method-assign]
    Pip.read = reading  # type: ignore[method-assign, assignment]
    Committer.commit = committed  # type: ignore[method-assign, assignment]
    if broken is not None:
        BROKEN[broken]()


def serve(
    listening: socket.socket, database: str, folder: str, deadline: float, delay: float, broken: str | None
) -> None:
    settings = Settings(database_url=database, state=Path(folder), digest_key=DIGEST_KEY, deadline=deadline)
    arrange(Path(folder), delay, broken)
    config = uvicorn.Config(app.create(settings), access_log=False, log_level="critical", timeout_keep_alive=600)
    uvicorn.Server(config).run([listening])  # on uvloop, as in production


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    children = []
    for line in sys.stdin:
        listening = socket.create_server(("127.0.0.1", 0))
        child = os.fork()
        if child == 0:
            os.close(0)
            random.seed()
            try:
                serve(listening, **json.loads(line))
            finally:
                os._exit(1)
        sys.stdout.write(f"{json.dumps([child, listening.getsockname()[1]])}\n")
        sys.stdout.flush()
        listening.close()
        children.append(child)
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
