"""API keys: `mgk_ID_SECRET_CHECKSUM`. The secret is shown once; only its hash is kept."""

import hashlib
import hmac
import secrets
import zlib
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter

from mythos_gate.errors import NotAuthenticated
from mythos_gate.terms import Role

PREFIX = "mgk"
NOBODY = bytes(32)


@dataclass(slots=True)
class Presented:
    """A key as a caller sent it: well formed, not yet verified."""

    id: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class Caller:
    """A named person or service, and the key it used."""

    id: str
    name: str
    key_id: str
    roles: frozenset[Role]
    organization: str | None = None  # the slug of the one it is confined to: nothing else is there for it
    organization_id: str | None = None
    is_service: bool = False
    authority: str | None = None  # the slug of an officer's one: grants and directives of others are not there for it
    authority_id: str | None = None
    person: str | None = None  # `ORGANIZATION/EXTERNAL_ID`, where they are on record themselves
    person_id: str | None = None
    models: frozenset[str] | None = None  # that a gateway may ask about, and whose people: of others it learns nothing
    organizations: frozenset[str] | None = None

    @property
    def is_provider(self) -> bool:
        """An organization's identity provider: what it asks for is the organization's word, and nobody's approval."""
        return Role.SCIM in self.roles

    @property
    def identity(self) -> str:
        """One natural person has one, whichever key is used."""
        return self.person_id or self.id

    def identity_in(self, organization: str) -> str:
        """The name under which they ask, approve and review there: the external id of who is on record there.

        Of whoever is on record elsewhere only the gate's id: whom another organization has, nobody learns.
        """
        home, _, external_id = (self.person or "").partition("/")
        return external_id if home == organization else self.identity


@dataclass(frozen=True, slots=True)
class Stored:
    """What is on record for a key; `hash` in hexadecimal, `gone` where whose key it is may do nothing any more."""

    caller: Caller
    hash: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    gone: bool = False


STORED: TypeAdapter[Stored | None] = TypeAdapter(Stored | None)


def create(prefix: str = PREFIX) -> tuple[str, Presented]:
    """A new key: the text to hand over once, and what to keep."""
    identifier, secret = secrets.token_hex(8), secrets.token_hex(32)
    return _text(identifier, secret, prefix), Presented(identifier, _hash(secret))


def parse(text: str | None, prefix: str = PREFIX) -> Presented:
    """Read a key as sent; `NotAuthenticated` if it is none."""
    body, _, checksum = (text or "").rpartition("_")
    kind, identifier, secret, *more = (*body.split("_"), "", "")
    # The checksum only tells a slip of the hand: the secret is compared as its hash.
    if kind != prefix or more != ["", ""] or checksum != _checksum(body):
        raise NotAuthenticated("the API key is missing or malformed: send Authorization: Bearer mgk_...")
    return Presented(identifier, _hash(secret))


def bearer(authorization: str | None) -> Presented:
    """The key of an Authorization header (RFC 6750 2.1)."""
    scheme, _, text = (authorization or "").partition(" ")
    return parse(text.strip() if scheme.lower() == "bearer" else None)


def verify(presented: Presented, stored: Stored | None, now: datetime) -> Caller:
    """Who presented the key; `NotAuthenticated` without saying why: unknown, wrong, expired, revoked, a leaver's."""
    same = hmac.compare_digest(presented.hash, bytes.fromhex(stored.hash) if stored else NOBODY)
    if stored is None or not same or stored.gone or stored.revoked_at is not None or _over(stored.expires_at, now):
        raise NotAuthenticated("the API key is not valid")
    return stored.caller


def _over(instant: datetime | None, now: datetime) -> bool:
    return instant is not None and now >= instant


def _text(identifier: str, secret: str, prefix: str = PREFIX) -> str:
    body = f"{prefix}_{identifier}_{secret}"
    return f"{body}_{_checksum(body)}"


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode('utf-8', 'surrogatepass')):08x}"


def _hash(secret: str) -> bytes:
    # 256 random bits need no slow hash.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
