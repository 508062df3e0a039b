"""A small real witness: an HTTP server on this machine that does what C2SP tlog-witness asks, and misbehaves if told."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mythos_gate.audit import checkpoint, merkle, note
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.merkle import EMPTY_ROOT, Unproven
from mythos_gate.audit.note import BadNote, Kind, VerifierKey

TEXT, SIZE = "text/plain", "text/x.tlog.size"
Reply = tuple[int, str, bytes]
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handle: Handle, port: int = 0) -> AsyncIterator[int]:
    """A server on this machine, as its port. It ends like a process that is killed, whatever it is about to answer."""
    handling = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(handle(reader, writer))
        handling.add(task)
        await asyncio.wait([task])
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        handling.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in set(handling):
            task.cancel()
        while handling:
            await asyncio.sleep(0.01)


def http(reply: Callable[[str, bytes], Awaitable[Reply]]) -> Handle:
    """One POST a connection: `reply` is told the path and the body."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            method, path, _ = head[0].split(" ")
            assert method == "POST"
            status, kind, answer = await reply(path, await reader.readexactly(int(headers["content-length"])))
            told = f"HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {len(answer)}\r\n"
            where = "Location: /elsewhere\r\n" if 300 <= status < 400 else ""
            writer.write(f"{told}{where}Connection: close\r\n\r\n".encode() + answer)
            await writer.drain()

    return handle


@dataclass
class Witness:
    """Its state outlives its server, as that of a real one outlives its process."""

    log: VerifierKey
    name: str = "witness.example/w1"
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    size: int = 0
    root: bytes = EMPTY_ROOT
    port: int = 0
    clock: Callable[[], float] = time.time
    # Misbehaviour: how long it thinks, and what becomes of its answer.
    delay: float = 0.0
    lie: Callable[[Reply], Reply] = lambda reply: reply
    asked: list[tuple[int, int, int]] = field(default_factory=list)  # old size, size, status

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey(self.name, self.key.public_key().public_bytes_raw(), Kind.COSIGNATURE)

    @property
    def line(self) -> str:
        """As a gate's file of witnesses has it."""
        return f"{self.verifier.text} http://127.0.0.1:{self.port or 1}/prefix"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Witness"]:
        async with serving(http(self._reply), self.port) as self.port:
            yield self

    async def _reply(self, path: str, body: bytes) -> Reply:
        await asyncio.sleep(self.delay)
        return self.lie(self.add(body) if path == "/prefix/add-checkpoint" else (404, TEXT, b""))

    def add(self, body: bytes) -> Reply:
        lines, _, signed = body.partition(b"\n\n")
        first, *hashes = lines.decode().split("\n")
        assert first.startswith("old ")
        old, proof = note.number(first.removeprefix("old ")), [note.from_base64(line) for line in hashes]
        reply = self._judged(old, proof, signed)
        self.asked.append((old, Checkpoint.parse(note.parts(signed)[0]).size, reply[0]))
        return reply

    def _judged(self, old: int, proof: list[bytes], signed: bytes) -> Reply:
        text, _ = note.parts(signed)
        if not text.startswith(f"{self.log.name}\n"):
            return 404, TEXT, b""
        try:
            head = checkpoint.opened(signed, self.log, self.log.name)
        except BadNote:
            return 403, TEXT, b""
        if old > head.size:
            return 400, TEXT, b""
        if old != self.size or (old == head.size and self.root != head.root):
            return 409, SIZE, f"{self.size}\n".encode()
        try:
            merkle.verify_consistency(old, self.root, head.size, head.root, proof)
        except Unproven:
            return 422, TEXT, b""
        self.size, self.root = head.size, head.root
        return 200, TEXT, f"{checkpoint.cosign(signed, self.name, self.key, int(self.clock()))}\n".encode()
