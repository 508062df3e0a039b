"""What it costs to know who asks: CPU of reading an API key, and of verifying a token of each usual algorithm."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import orjson
from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from mythos_gate.authn import api_keys, bearer
from mythos_gate.authn.issuers import Issuer
from mythos_gate.authn.oidc import DISCOVERY, Reader
from mythos_gate.authn.tokens import Names

ISSUER, AUDIENCE = "https://issuer.example", "https://gate.example"
ROUNDS, EACH = 7, 300
KEYS: dict[str, Callable[[], Key]] = {
    "RS256": lambda: RSAKey.generate_key(2_048),
    "ES256": lambda: ECKey.generate_key("P-256"),
    "Ed25519": lambda: OKPKey.generate_key("Ed25519"),
}


async def measured() -> dict[str, float]:
    """Microseconds a request, of the best of some rounds: others on the same cores only add to it."""
    keys = {name: make() for name, make in KEYS.items()}
    rule = {"claim": "groups", "value": "gateway", "role": "gateway"}
    issuer = Issuer.model_validate({"issuer": ISSUER, "audience": AUDIENCE, "algorithms": list(KEYS), "roles": [rule]})
    async with httpx.AsyncClient(transport=httpx.MockTransport(_published(keys))) as client:
        read = bearer.either(Reader([issuer], Names(bytes(32)), client).read)
        sent = {f"token_{name.lower()}_us": _token(name, key) for name, key in keys.items()}
        sent["api_key_us"] = api_keys.create()[0]
        return {name: await _cost(read, f"Bearer {text}") for name, text in sent.items()}


def _published(keys: dict[str, Key]) -> Callable[[httpx.Request], httpx.Response]:
    """The issuer, as a function from requests to answers."""
    told: dict[str, Any] = {
        "/keys": {"keys": [key.as_dict(private=False) | {"kid": name} for name, key in keys.items()]},
        DISCOVERY: {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(orjson.dumps(told[request.url.path])))

    return answer


def _token(name: str, key: Key) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "gateway-1", "iat": now, "exp": now + 3_600, "groups": ["gateway"]}
    header = {"alg": name, "kid": name, "typ": "at+jwt"}
    registry = jws.JWSRegistry(algorithms=[name])
    return jws.serialize_compact(header, orjson.dumps(claims), key, registry=registry)


async def _cost(read: Callable[[str], Awaitable[Any]], header: str) -> float:
    took = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(EACH):
            await read(header)
        took.append(time.process_time() - begun)
    return min(took) / EACH * 1e6
