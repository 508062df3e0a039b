"""A small real issuer: an HTTP server on this machine with a configuration and keys, which misbehaves if told."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from joserfc import jws
from joserfc.jwk import ECKey, Key

from tests.witness import Handle, serving

AUDIENCE = "https://gate.example"
CONFIGURATION, JWKS = "/.well-known/openid-configuration", "/keys"
Reply = tuple[int, bytes]


def signed(header: Mapping[str, Any], claims: Any, key: Key) -> str:
    """A token, whatever the header says; the payload is JSON of anything."""
    registry = jws.JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
    registry.max_header_length = 2**20
    return jws.serialize_compact(dict(header), json.dumps(claims).encode(), key, registry=registry)


@dataclass
class Issuer:
    """Its state outlives its server."""

    keys: dict[str, Key] = field(default_factory=lambda: {"k1": ECKey.generate_key("P-256")})
    port: int = 0
    asked: list[str] = field(default_factory=list)  # paths
    delay: float = 0.0
    lie: Callable[[str, Reply], Reply] = lambda _path, reply: reply

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def asked_for_keys(self) -> int:
        return self.asked.count(JWKS)

    def published(self) -> list[dict[str, Any]]:
        return [{**key.as_dict(private=False), "kid": kid} for kid, key in self.keys.items()]

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Of a good token, with these claims beside or instead; one that is None is left out."""
        now = int(time.time())
        made = {"iss": self.url, "aud": AUDIENCE, "sub": "somebody", "iat": now, "exp": now + 300, **claims}
        return {name: value for name, value in made.items() if value is not None}

    def token(self, kid: str = "k1", header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        made = {"alg": "ES256", "kid": kid, "typ": "at+jwt", **(header or {})}
        return signed(
            {name: value for name, value in made.items() if value is not None}, self.claims(**claims), self.keys[kid]
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Issuer"]:
        async with serving(self._handle(), self.port) as self.port:
            yield self

    def _handle(self) -> Handle:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                path = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[1]
                self.asked.append(path)
                await asyncio.sleep(self.delay)
                status, body = self.lie(path, self._reply(path))
                head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\nLocation: {self.url}{JWKS}\r\n"
                writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
                await writer.drain()

        return handle

    def _reply(self, path: str) -> Reply:
        if path == CONFIGURATION:
            return 200, orjson.dumps({"issuer": self.url, "jwks_uri": f"{self.url}{JWKS}"})
        return (200, orjson.dumps({"keys": self.published()})) if path == JWKS else (404, b"")
