"""One HTTP connection over which small requests go one after the other: httpx would cost more than what it measures."""

import asyncio
import json
from typing import Any, Self
from urllib.parse import urlsplit


class Connection:
    """Keep-alive HTTP/1.1 to loopback."""

    def __init__(self, url: str, key: str | None) -> None:
        split = urlsplit(url)
        if split.hostname != "127.0.0.1":
            raise ValueError("loopback only")
        self._port = split.port or 80
        self._key = f"Authorization: Bearer {key}\r\n" if key else ""

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def post(self, path: str, body: Any) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by lower-case name, body."""
        sent = json.dumps(body, separators=(",", ":")).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{self._key}"
        self._writer.write(f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        if headers.get("transfer-encoding") == "chunked":
            return int(lines[0].split()[1]), headers, await self._chunks()
        return int(lines[0].split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))

    async def _chunks(self) -> bytes:
        content = b""
        while size := int(await self._reader.readline(), 16):
            content += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readline()
        return content

    async def asked(self, path: str, body: Any) -> Any:
        """The answer's JSON. RuntimeError for anything but 200."""
        status, _, content = await self.post(path, body)
        if status != 200:
            raise RuntimeError(f"{path}: {status}: {content.decode()[:500]}")
        return json.loads(content)
