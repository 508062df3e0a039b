"""A client that costs little, and the processes that it talks to."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Reply:
    """With when it was asked for and when it was there, on the monotonic clock."""

    status: int
    headers: dict[str, str]
    body: bytes
    sent: float
    received: float

    def json(self) -> Any:
        return json.loads(self.body)


class Connection(asyncio.Protocol):
    """HTTP/1.1, one request at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._reply: asyncio.Future[tuple[int, dict[str, str], bytes, float]] | None = None
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        received = time.monotonic()
        self._buffer += data
        head, there, body = self._buffer.partition(b"\r\n\r\n")
        if not there:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if len(body) == int(headers["content-length"]) and self._reply is not None and not self._reply.done():
            self._buffer = b""
            self._reply.set_result((int(lines[0].split()[1]), headers, body, received))

    def connection_lost(self, error: Exception | None) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ConnectionError("the server hung up"))

    async def request(self, method: str, path: str, key: str, body: bytes = b"", **headers: str) -> Reply:
        """`key`: the text of an API key."""
        lines = [f"{method} {path} HTTP/1.1", "Host: gate", f"Authorization: Bearer {key}"]
        lines += [f"Content-Length: {len(body)}", *(f"{name.replace('_', '-')}: {headers[name]}" for name in headers)]
        self._reply = asyncio.get_running_loop().create_future()
        sent = time.monotonic()
        self._transport.write("\r\n".join([*lines, "\r\n"]).encode() + body)  # type: ignore[attr-defined]
        status, told, content, received = await self._reply
        return Reply(status, told, content, sent, received)

    def close(self) -> None:
        self._transport.close()


@dataclass(frozen=True, slots=True)
class Process:
    """A server of its own. `folder`: where its spots are held."""

    pid: int
    port: int
    folder: Path

    async def connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self.port)
        return connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        connection = await self.connect()
        try:
            yield connection
        finally:
            connection.close()

    async def ready(self) -> None:
        """Until it says so."""
        async with asyncio.timeout(60), self.connection() as connection:
            while (await connection.request("GET", "/health/ready", "")).status != 200:
                await asyncio.sleep(0.05)

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    @asynccontextmanager
    async def holding(self, spot: str) -> AsyncIterator[None]:
        """The next request waits at the spot until the block is left, which is entered at once: see `held`."""
        (self.folder / f"hold-{spot}").touch()
        try:
            yield
        finally:
            for state in ("hold", "held"):
                (self.folder / f"{state}-{spot}").unlink(missing_ok=True)

    async def held(self, spot: str) -> None:
        """Until a request is there."""
        async with asyncio.timeout(30):
            while not (self.folder / f"held-{spot}").exists():
                await asyncio.sleep(0.005)


class Servers:
    """Starts processes of the service over one database."""

    def __init__(self, forking: subprocess.Popen[str]) -> None:
        self._forking = forking

    @classmethod
    @contextmanager
    def forking(cls) -> Iterator["Servers"]:
        command = [sys.executable, "-m", "tests.e2e.history.server"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with subprocess.Popen(
            command, cwd=HERE, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as forking:
            yield cls(forking)  # at the end its input is closed, and so it ends

    async def start(
        self, database: str, folder: Path, *, deadline: float = 5, delay: float = 0, broken: str | None = None
    ) -> Process:
        """One more, ready to be asked. `delay`: at most so many seconds at each spot, now and then."""
        folder.mkdir(parents=True, exist_ok=True)
        wanted = {"database": database, "folder": str(folder), "deadline": deadline, "delay": delay, "broken": broken}
        assert self._forking.stdin is not None
        assert self._forking.stdout is not None
        print(json.dumps(wanted), file=self._forking.stdin, flush=True)
        pid, port = json.loads(await asyncio.to_thread(self._forking.stdout.readline))
        process = Process(pid, port, folder)
        await process.ready()
        return process
