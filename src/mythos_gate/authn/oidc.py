"""Tokens of issuers (OpenID Connect Discovery 1.0, RFC 7519, RFC 9068): from a text to whom it makes a caller.

Of what is not verified yet, only the issuer's and the key's name are used, to find the key. Nothing that was verified
is remembered: each request's token is verified anew, with keys that are kept.
"""

import asyncio
import hashlib
import logging
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import httpx
import orjson
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import JWKRegistry, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

from mythos_gate.audit import exchange
from mythos_gate.authn import act, tokens
from mythos_gate.authn.act import Chain
from mythos_gate.authn.issuers import LONGEST, Issuer, Unusable
from mythos_gate.authn.tokens import Names, Token
from mythos_gate.errors import NotDecided

SIZE = 8_192  # characters of a token
MOST_KEYS = 100  # of an issuer
SHORTEST_RSA = 2_048  # bits (NIST SP 800-131A)
LIFETIME = timedelta(hours=24)  # from `iat` to `exp`: nobody can revoke a token here
LATEST = 2**35  # seconds since 1970: what is a time, far from where sums of times overflow
DISCOVERY = "/.well-known/openid-configuration"
OK = 200
# What importing a key or verifying with it raises when something is wrong with what others sent.
WRONG = (JoseError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: how old keys grow before they are read anew, how soon they are read again, how long they are good."""

    fresh: float = 300.0
    again: float = 30.0
    good: float = 3_600.0
    patience: float = 3.0  # for both exchanges together


class Keys:
    """The keys of an issuer, by key id and algorithm: read when the gate starts, and from then on."""

    def __init__(
        self,
        issuer: Issuer,
        client: httpx.AsyncClient,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._client = client
        self._pace = pace or Pace()
        self._clock = clock
        self._known: Mapping[tuple[str, str], Key] = {}
        self._read_at = -math.inf  # of what is known
        self._asked_at = -math.inf
        self._asking: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Read them anew, now and then, until the task is cancelled: no request waits for that."""
        try:
            while True:
                await self._ask()
                failed = self._read_at < self._asked_at
                await asyncio.sleep(self._pace.again if failed else self._pace.fresh)
        finally:
            if self._asking is not None:
                self._asking.cancel()

    async def find(self, kid: str, algorithm: str) -> Key:
        """The key. `Unusable` if the issuer has none such; `NotDecided` if that is not known."""
        if not self._are_good or (kid, algorithm) not in self._known:
            # It may be new. Whoever makes key ids up has it looked up once in a while, not each time.
            if self._asking is not None or self._clock() - self._asked_at >= self._pace.again:
                await self._ask()
            if not self._are_good or ((kid, algorithm) not in self._known and self._read_at < self._asked_at):
                raise NotDecided("the keys of the token's issuer cannot be read")
            if (kid, algorithm) not in self._known:
                raise Unusable("its issuer has no such key for that algorithm")
        return self._known[kid, algorithm]

    @property
    def _are_good(self) -> bool:
        return self._clock() - self._read_at < self._pace.good

    async def _ask(self) -> None:
        """Once for all who wait; whoever gives up waiting stops nobody else's."""
        if self._asking is None:
            self._asked_at = self._clock()
            self._asking = asyncio.ensure_future(self._read())
            self._asking.add_done_callback(self._asked)
        await asyncio.shield(self._asking)

    def _asked(self, _: asyncio.Task[None]) -> None:
        self._asking = None

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(self._pace.patience):
                self._known = await self._fetched()
        except (exchange.Unanswered, TimeoutError, ValueError) as error:
            logger.warning("the keys of %s cannot be read: %s", self._issuer.issuer, error or "it took too long")
        else:
            self._read_at = self._clock()

    async def _fetched(self) -> Mapping[tuple[str, str], Key]:
        """`exchange.Unanswered`; ValueError if the answers are not what the specification says."""
        described = await self._got(self._issuer.issuer.rstrip("/") + DISCOVERY)
        # OpenID Connect Discovery 1.0, 4.3: or one issuer could pass its keys off as another's.
        if described.get("issuer") != self._issuer.issuer:
            raise ValueError("its configuration is another issuer's")
        url = described.get("jwks_uri")
        if not isinstance(url, str) or not _is_as_safe(url, self._issuer.issuer):
            raise ValueError("its jwks_uri is no URL, or not https")
        found = (await self._got(url)).get("keys")
        if not isinstance(found, list) or len(found) > MOST_KEYS:
            raise ValueError(f"its keys are no list, or more than {MOST_KEYS}")
        return _usable(found, sorted(self._issuer.algorithms))

    async def _got(self, url: str) -> Mapping[str, Any]:
        answer = await exchange.get(self._client, url)
        if answer.status != OK:
            raise ValueError(f"it answers {answer.status}")
        found = orjson.loads(answer.body)
        if not isinstance(found, dict):
            raise ValueError("its answer is no JSON object")  # noqa: TRY004  as wrong as one that is no JSON
        return found


def _is_as_safe(url: str, issuer: str) -> bool:
    """An issuer elsewhere does not send the gate to a service on this machine."""
    return exchange.is_safe(url) and (url.startswith("https:") or not issuer.startswith("https:"))


def _usable(found: Sequence[Any], algorithms: Sequence[str]) -> Mapping[tuple[str, str], Key]:
    """Of a key set those that verify one of these algorithms; others are not the gate's business (RFC 7517 5)."""
    usable: dict[tuple[str, str], Key] = {}
    for each in found:
        kid = each.get("kid") if isinstance(each, dict) else None
        if not isinstance(kid, str) or not kid:
            continue
        try:
            key = _key(each)
            names = _verified_by(key, algorithms)
        except WRONG:
            continue
        for name in names:
            usable.setdefault((kid, name), key)
    return usable


def _key(found: dict[str, Any]) -> Key:
    with warnings.catch_warnings():
        # joserfc warns of what is too short, which is not used.
        warnings.simplefilter("ignore", SecurityWarning)
        return JWKRegistry.import_key(found)


def _verified_by(key: Key, algorithms: Sequence[str]) -> list[str]:
    """The algorithms that this key may be used with, by its type, curve, `alg`, `use` and `key_ops`."""
    if key.key_type == "oct" or key.is_private:
        return []
    if isinstance(key, RSAKey) and key.raw_value.key_size < SHORTEST_RSA:
        return []
    if isinstance(key, OKPKey) and key.curve_name != "Ed25519":
        return []
    key.check_key_op("verify")
    return [each.name for each in JWSRegistry.filter_algorithms(key, list(algorithms))]


class Reader:
    """Reads tokens of these issuers."""

    def __init__(
        self,
        issuers: Sequence[Issuer],
        names: Names,
        client: httpx.AsyncClient,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = names
        self._issuers = {each.issuer: (each, Keys(each, client, pace, clock)) for each in issuers}

    async def run(self) -> None:
        """Keep the keys of all of them, until the task is cancelled."""
        await asyncio.gather(*(keys.run() for _, keys in self._issuers.values()))

    async def read(self, text: str) -> Token:
        """`NotAuthenticated` without saying why; `NotDecided` if the issuer's keys are not known."""
        try:
            return await self._read(text)
        except Unusable as error:
            raise tokens.refused(str(error)) from None

    async def chain(self, text: str) -> Chain:
        """Who acts for whom; `act.NOBODY` of a token that is not right. `NotDecided` if its keys are not known."""
        try:
            return _chain(*await self._verified(text))
        except Unusable as error:
            logger.warning("an actor's token was refused: %s", error)
            return act.NOBODY

    async def _read(self, text: str) -> Token:
        return _token(*await self._verified(text), self._names)

    async def _verified(self, text: str) -> tuple[Issuer, Mapping[str, Any]]:
        """Its issuer, and the claims that they signed. `Unusable`."""
        sent = _Sent.parse(text)
        found = self._issuers.get(sent.issuer)
        if found is None:
            raise Unusable("its issuer is not configured")
        issuer, keys = found
        sent.check_header(issuer)
        sent.check_signature(await keys.find(sent.kid, sent.algorithm))
        return issuer, sent.claims


@lru_cache(256)  # all tokens of one key have the same
def _header(part: str) -> Any:
    return orjson.loads(urlsafe_b64decode(part.encode("ascii")))


@dataclass(frozen=True, slots=True)
class _Sent:
    """A JWS in compact form (RFC 7515 7.1), taken apart. `Unusable`."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes

    @classmethod
    def parse(cls, text: str) -> "_Sent":
        if len(text) > SIZE:
            raise Unusable(f"it has more than {SIZE} characters")
        parts = text.split(".")
        if len(parts) != 3:
            raise Unusable("it is no signed token")
        try:
            claims, signature = (urlsafe_b64decode(part.encode("ascii")) for part in parts[1:])
            made = cls(_header(parts[0]), orjson.loads(claims), text.rpartition(".")[0].encode("ascii"), signature)
        except ValueError:
            raise Unusable("it cannot be read") from None
        if not isinstance(made.header, dict) or not isinstance(made.claims, dict):
            raise Unusable("it cannot be read")
        return made

    @property
    def issuer(self) -> str:
        """Not to be trusted before the signature is checked, as all that is in here."""
        return _text(self.claims.get("iss"), "issuer")

    @property
    def kid(self) -> str:
        return _text(self.header.get("kid"), "key id")

    @property
    def algorithm(self) -> str:
        return _text(self.header.get("alg"), "algorithm")

    def check_header(self, issuer: Issuer) -> None:
        # RFC 7515 4.1.11: the gate understands none of what could be critical.
        if "crit" in self.header:
            raise Unusable("it has a critical extension")
        if self.algorithm not in issuer.algorithms:
            raise Unusable("its algorithm is not one of its issuer's")
        if not issuer.takes(self.header.get("typ")):
            raise Unusable("its type is not one of its issuer's")

    def check_signature(self, key: Key) -> None:
        try:
            right = JWSRegistry.algorithms[self.algorithm].verify(self.signed, self.signature, key)
        except WRONG:
            right = False
        if not right:
            raise Unusable("its signature is wrong")


def _token(issuer: Issuer, claims: Mapping[str, Any], names: Names) -> Token:
    """From claims that are verified. Whoever acts for another has not the other's word, and so is no caller."""
    begins, ends = _times(issuer, claims)
    if "act" in claims:
        raise Unusable("its holder acts for another")
    claimed = issuer.claimed(claims)
    caller = names.of(issuer.issuer, _text(claims.get("sub"), "subject"))
    return Token(claimed.id(caller, key_name(issuer.issuer)), begins, ends)


def _chain(issuer: Issuer, claims: Mapping[str, Any]) -> Chain:
    """From claims that are verified (RFC 8693 4.1): the outermost `act` acts now, `sub` is whom it is all for."""
    begins, ends = _times(issuer, claims)
    principal = issuer.person_of(claims)
    if principal is None:
        raise Unusable("it does not say whom its actor acts for")
    actors: list[str] = []
    acting = claims
    while "act" in acting:
        acting = acting["act"]
        # An actor of another issuer is somebody else, whatever they are called there.
        if not isinstance(acting, dict) or acting.get("iss", issuer.issuer) != issuer.issuer:
            raise Unusable("an actor of it is none, or another issuer's")
        actors.append(_text(acting.get("sub"), "actor"))
    if not actors:
        raise Unusable("it has no actor")
    return Chain("/".join(principal), tuple(actors), begins, ends)


def _times(issuer: Issuer, claims: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """When a token for this gate begins and ends, by the database's clock, as an API key's end is. `Unusable`."""
    audience = claims.get("aud")
    if issuer.audience not in (audience if isinstance(audience, list) else [audience]):
        raise Unusable("its audience is another")
    issued, expires = _instant(claims.get("iat")), _instant(claims.get("exp"))
    if expires - issued > LIFETIME:
        raise Unusable(f"it is good for more than {LIFETIME}")
    begins = max(issued, _instant(claims["nbf"])) if "nbf" in claims else issued
    leeway = timedelta(seconds=issuer.leeway)
    return begins - leeway, expires + leeway


def key_name(issuer: str) -> str:
    """What stands in the log where the id of an API key would: by whose word the caller is who they are."""
    return f"iss_{hashlib.sha256(issuer.encode()).hexdigest()[:16]}"


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST:
        raise Unusable(f"its {what} is no text, or too long")
    return value


def _instant(value: object) -> datetime:
    """A NumericDate (RFC 7519 2)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LATEST:
        raise Unusable("a time of it is missing, or none")
    return datetime.fromtimestamp(value, UTC)


async def reader(
    issuers: Sequence[Issuer], digest_key: bytes, stack: AsyncExitStack, pace: Pace | None = None
) -> Reader:
    """One that keeps its issuers' keys until the stack is closed."""
    client = await stack.enter_async_context(exchange.client())
    made = Reader(issuers, Names(digest_key), client, pace)
    stack.push_async_callback(_end, asyncio.create_task(made.run()))
    return made


async def _end(running: asyncio.Task[None]) -> None:
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
