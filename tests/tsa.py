"""A real timestamp authority (RFC 3161) on this machine: `openssl ts` behind HTTP, with a CA of the test's own."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.witness import Reply, http, serving

REPLY = "application/timestamp-reply"
CONFIGURATION = """[tsa]
default_tsa = here
[here]
serial = {folder}/serial
digests = sha256
default_policy = 1.2.3.4
signer_digest = sha256
ess_cert_id_alg = sha256
[timestamping]
extendedKeyUsage = critical, timeStamping
[req]
distinguished_name = name
[name]
"""


class Authority:
    """`certificate` is what to trust; `lie` may alter what is answered."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.lie: Callable[[Reply], Reply] = lambda reply: reply
        self.asked: list[bytes] = []
        self.port = 0
        (folder / "serial").write_text("01\n")
        (folder / "tsa.cnf").write_text(CONFIGURATION.format(folder=folder))
        ca = ["req", "-x509", *_NEW, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test root", "-days", "2"]
        self._openssl(*ca, "-addext", "basicConstraints=critical,CA:true")
        self._openssl("req", *_NEW, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=test authority")
        sign = ["x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1"]
        self._openssl(*sign, "-extfile", "tsa.cnf", "-extensions", "timestamping", "-out", "tsa.pem")

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/tsr"

    def stamp(self, query: bytes) -> bytes:
        """The response to a query."""
        (self.folder / "query").write_bytes(query)
        reply = ["ts", "-reply", "-config", "tsa.cnf", "-section", "here", "-queryfile", "query", "-out", "response"]
        self._openssl(*reply, "-signer", "tsa.pem", "-inkey", "tsa.key")
        return (self.folder / "response").read_bytes()

    def verifies(self, response: bytes, text: bytes) -> bool:
        """What openssl says of it."""
        (self.folder / "given").write_bytes(response)
        (self.folder / "text").write_bytes(text)
        verify = ["openssl", "ts", "-verify", "-in", "given", "-data", "text", "-CAfile", "ca.pem"]
        return subprocess.run(verify, cwd=self.folder, capture_output=True, check=False).returncode == 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Authority"]:
        async with serving(http(self._reply), self.port) as self.port:
            yield self

    async def _reply(self, path: str, body: bytes) -> Reply:
        assert path == "/tsr"
        self.asked.append(body)
        return self.lie((200, REPLY, await asyncio.to_thread(self.stamp, body)))

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


_NEW = ["-config", "tsa.cnf", "-newkey", "rsa:2048", "-nodes"]
