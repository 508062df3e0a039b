"""Tokens that their issuer signed for this gate: whom they make a caller, and for how long. `oidc` reads them."""

import hmac
import logging
from dataclasses import dataclass
from datetime import datetime

import orjson

from mythos_gate.authn.api_keys import Caller, Stored
from mythos_gate.errors import NotAuthenticated
from mythos_gate.terms import Role

PREFIX = "tok_"
PURPOSE = b"mythos-gate caller by token 1"
REFUSED = "the token is not valid"  # whatever is wrong with it: the service's log says what

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Token:
    """A token whose signature, issuer and audience are right.

    `id` is what it claims, as `caller.STORED_TOKEN` reads it: what is on record of that says whether it is anybody.
    """

    id: str
    not_before: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a token makes its holder, by the names of the records; as in `registry.callers.Scope`."""

    roles: frozenset[Role] = frozenset()
    organization: str | None = None
    authority: str | None = None
    models: tuple[str, ...] | None = None
    organizations: tuple[str, ...] | None = None
    person: tuple[str, str] | None = None  # organization and external id

    def id(self, caller: str, key: str) -> str:
        """All of it with who holds it, and by whose word, as one text: the same for each of their tokens."""
        home, external_id = self.person or (None, None)
        members = {
            "id": caller, "key": key, "roles": sorted(self.roles), "organization": self.organization,
            "authority": self.authority, "models": self.models, "organizations": self.organizations, "home": home,
            "external_id": external_id,
        }  # fmt: skip
        return orjson.dumps(members).decode()


class Names:
    """What holders of tokens are called: the same at every process with the gate's digest key, and nobody's name."""

    def __init__(self, digest_key: bytes) -> None:
        self._key = hmac.digest(digest_key, PURPOSE, "sha256")

    def of(self, issuer: str, subject: str) -> str:
        return PREFIX + hmac.digest(self._key, orjson.dumps([issuer, subject]), "sha256")[:16].hex()


def is_by_token(caller: str) -> bool:
    """Whether this is the id of a token's holder."""
    return caller.startswith(PREFIX)


def verify(token: Token, stored: Stored | None, now: datetime) -> Caller:
    """Whom the token makes the caller; `NotAuthenticated` without saying why."""
    _require_timely(token, now)
    if stored is None:
        raise refused("an organization, an authority or a person that it stands for is not on record")
    if stored.gone:
        raise refused("whom it names has left or is stopped, or their organization is terminated")
    return stored.caller


def holder(token: Token, person: str, now: datetime) -> str:
    """What the holder is called, if by the token they are this `ORGANIZATION/EXTERNAL_ID`, who is not on record yet.

    `NotAuthenticated` without saying why.
    """
    _require_timely(token, now)
    claimed = orjson.loads(token.id)
    if claimed["home"] is None or f"{claimed['home']}/{claimed['external_id']}" != person:
        raise refused("it does not say that its holder is who is invited")
    return str(claimed["id"])


def _require_timely(token: Token, now: datetime) -> None:
    if now < token.not_before:
        raise refused("it is not valid yet")
    if now >= token.expires_at:
        raise refused("it has expired")


def refused(reason: str) -> NotAuthenticated:
    """The error for the caller; the reason, which has nothing of the token in it, goes into the service's log."""
    logger.warning("a token was refused: %s", reason)
    return NotAuthenticated(REFUSED)
