"""The one place where what an Authorization header holds becomes a caller: an API key, or a token of an issuer."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeAlias

from mythos_gate.authn import api_keys, tokens
from mythos_gate.authn.api_keys import Caller, Presented, Stored
from mythos_gate.authn.tokens import Token

# Verified as far as is possible without what is on record: that is `verify`, and needs the time.
Credential: TypeAlias = Presented | Token
Read: TypeAlias = Callable[[str | None], Awaitable[Credential]]


async def key_alone(authorization: str | None) -> Credential:
    """What a gate without issuers reads (RFC 6750 2.1)."""
    return api_keys.bearer(authorization)


def either(read: Callable[[str], Awaitable[Token]]) -> Read:
    """What a gate with issuers reads; `read` reads a token."""

    async def found(authorization: str | None) -> Credential:
        scheme, _, text = (authorization or "").partition(" ")
        text = text.strip()
        # A token's parts are joined by dots, and a key has none.
        if scheme.lower() == "bearer" and "." in text:
            return await read(text)
        return api_keys.bearer(authorization)

    return found


def verify(presented: Credential, stored: Stored | None, now: datetime) -> Caller:
    """Who presented it; `NotAuthenticated` without saying why."""
    if isinstance(presented, Token):
        return tokens.verify(presented, stored, now)
    return api_keys.verify(presented, stored, now)


def ends(presented: Credential, stored: Stored | None) -> datetime | None:
    """When it is over by time alone, if ever: nothing that rests on it stands longer."""
    if isinstance(presented, Token):
        return presented.expires_at
    return stored.expires_at if stored else None
