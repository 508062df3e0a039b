"""Who makes the changes: officers over REST, and the local operator, as the command line does."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from mythos_gate.errors import NotRecorded
from mythos_gate.terms import Role
from tests.e2e.history.client import Process, Reply
from tests.service import Service

Times: TypeAlias = tuple[float, float]  # when a change was sent, and when it was acknowledged
BUSY = 0.05  # seconds until something is tried again


class Office:
    """The first of the processes is never stopped: what takes several steps goes there."""

    def __init__(self, service: Service, processes: Sequence[Process], officers: Sequence[str]) -> None:
        self.service = service
        self.processes = processes
        self._officers = officers

    @classmethod
    async def opened(cls, service: Service, processes: Sequence[Process]) -> "Office":
        keys = [(await service.key(Role.COMPLIANCE))["Authorization"].removeprefix("Bearer ") for _ in range(3)]
        return cls(service, processes, keys)

    async def post(
        self, path: str, members: Any = None, *, officer: int = 0, process: Process | None = None
    ) -> tuple[Reply, float]:
        """The reply, and when it was first asked for: again after a 503, of which nobody knows what was done.

        A 409 then says that it was.
        """
        first = time.monotonic()
        content = (
            members.encode() if isinstance(members, str) else b"" if members is None else json.dumps(members).encode()
        )
        kind = "text/csv" if isinstance(members, str) else "application/json"
        for attempt in range(200):
            async with (process or self.processes[0]).connection() as connection:
                reply = await connection.request(
                    "POST", f"/v1/{path}", self._officers[officer], content, Content_Type=kind
                )
            if reply.status < 300 or (attempt and reply.status == 409):
                return reply, first
            if reply.status != 503:
                raise AssertionError(f"{path}: {reply.status} {reply.body!r}")
            await asyncio.sleep(BUSY)
        raise AssertionError(f"{path}: {reply.body!r}")

    async def done(self, path: str, members: Any = None) -> Times:
        """What one officer does in one request, to any process."""
        reply, first = await self.post(path, members, process=random.choice(self.processes))
        return first, reply.received

    async def confirmed(self, path: str, members: Any = None) -> Times:
        """What a second officer approves."""
        requested, _ = await self.post(path, members)
        location = requested.headers["location"].removeprefix("/v1/")
        approval = {"sha256": requested.json()["sha256"]}
        reply, first = await self.post(f"{location}/approve", approval, officer=1)
        return first, reply.received

    async def operated(self, work: Callable[[], Awaitable[Any]]) -> Times:
        """What has no route: by the registry's own functions."""
        first = time.monotonic()
        for _ in range(200):
            try:
                await work()
            except NotRecorded:
                await asyncio.sleep(BUSY)
            else:
                return first, time.monotonic()
        raise AssertionError("the registry takes no change")

    async def imported(self, **files: str) -> Times:
        return await self.operated(lambda: self.service.load(**files))
