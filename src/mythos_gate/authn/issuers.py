"""Whose tokens are taken, and what they make their holders: a file of the operator's. Nothing is given by default."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from mythos_gate.audit import exchange
from mythos_gate.authn.tokens import Claimed
from mythos_gate.errors import Misconfigured
from mythos_gate.tables import SLUG
from mythos_gate.terms import Role

MOST_LEEWAY = 60  # seconds
LONGEST = 256  # characters of a text that a token says
# RFC 7518 3.1, RFC 8037, RFC 9864. What is symmetric or unsigned is no signature: whoever can verify could make it.
Algorithm: TypeAlias = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]


class Unusable(Exception):
    """The claims make nobody a caller: why, without what they are."""


def _url(value: str) -> str:
    parts = urlsplit(value)
    if not parts.hostname or {"?", "#"} & set(value) or "@" in parts.netloc:
        raise ValueError("is like https://issuer.example/realm, without user, ? and #")
    if not exchange.is_safe(value):
        raise ValueError("is https, but for one on this machine")
    return value


def _kind(value: str) -> str:
    """RFC 7515 4.1.9: `application/` may be left out, and case does not count."""
    return value.lower().removeprefix("application/")


def _path(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Words: TypeAlias = Annotated[str, Field(min_length=1, max_length=LONGEST)]
Slug: TypeAlias = Annotated[str, Field(pattern=f"^{SLUG}$")]
# A claim's name, or the names that lead to it: `realm_access`, then `roles`.
Place: TypeAlias = Annotated[tuple[Words, ...], BeforeValidator(_path), Field(min_length=1)]


class Part(BaseModel):
    """A misspelt member would count for nothing, silently."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Person(Part):
    """Where a token says who its holder is on record: the claim with the external id, and the organization."""

    claim: Place
    organization: Slug | None = None
    organization_claim: Place | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Person":
        if (self.organization is None) == (self.organization_claim is None):
            raise ValueError("a person has either an organization or an organization_claim")
        return self


class Rule(Part):
    """Who has this claim, or it among others, has the role. What confines it is as for API keys."""

    claim: Place
    value: Words
    role: Role
    organization: Slug | None = None
    organization_claim: Place | None = None
    authority: Slug | None = None
    models: tuple[Slug, ...] | None = None
    organizations: tuple[Slug, ...] | None = None

    @model_validator(mode="after")
    def _confined(self) -> "Rule":
        homes = (self.organization, self.organization_claim)
        if sum(each is not None for each in homes) != (self.role == Role.ORG_ADMIN):
            raise ValueError("an org_admin has either an organization or an organization_claim, and nobody else has")
        if (self.role == Role.OFFICER) != (self.authority is not None):
            raise ValueError("an officer has an authority, and nobody else has one")
        if self.role != Role.GATEWAY and (self.models is not None or self.organizations is not None):
            raise ValueError("only a gateway is confined to models and organizations")
        return self


class Issuer(Part):
    """One that signs tokens for this gate."""

    issuer: Annotated[str, AfterValidator(_url)]
    audience: Words
    algorithms: Annotated[frozenset[Algorithm], Field(min_length=1)]
    types: Annotated[frozenset[Annotated[Words, AfterValidator(_kind)]], Field(min_length=1)] = frozenset(
        {"at+jwt", "jwt"}
    )
    leeway: Annotated[int, Field(ge=0, le=MOST_LEEWAY, strict=True)] = 30  # seconds
    roles: Annotated[tuple[Rule, ...], Field(min_length=1)]
    person: Person | None = None

    def takes(self, kind: object) -> bool:
        """Whether this is a `typ` of theirs."""
        return isinstance(kind, str) and _kind(kind) in self.types

    def claimed(self, claims: Mapping[str, Any]) -> Claimed:
        """What these claims, which are verified, make their holder. `Unusable`."""
        rules = [rule for rule in self.roles if rule.value in _texts(claims, rule.claim)]
        roles = frozenset(rule.role for rule in rules)
        if len(roles) > 1 and roles & {Role.ORG_ADMIN, Role.OFFICER}:
            raise Unusable("an org_admin or an officer has another role as well")
        confined = {self._scope(rule, claims) for rule in rules if rule.role in CONFINED}
        if len(confined) > 1:
            raise Unusable("it is confined in two ways")
        scope = next(iter(confined), Claimed())
        return replace(scope, roles=roles, person=self.person_of(claims))

    def _scope(self, rule: Rule, claims: Mapping[str, Any]) -> Claimed:
        home = rule.organization
        if rule.organization_claim is not None:
            home = _slug(claims, rule.organization_claim)
        return Claimed(
            organization=home, authority=rule.authority, models=rule.models, organizations=rule.organizations
        )

    def person_of(self, claims: Mapping[str, Any]) -> tuple[str, str] | None:
        """Organization and external id of whom the claims are about, if they say so. `Unusable`."""
        if self.person is None:
            return None
        identifier = _at(claims, self.person.claim)
        if identifier is None:
            return None
        if not isinstance(identifier, str) or not 0 < len(identifier) <= LONGEST or "\x00" in identifier:
            raise Unusable("who the person is is no text")
        home = self.person.organization or _slug(claims, self.person.organization_claim or ())
        return home, identifier


CONFINED = {Role.GATEWAY, Role.ORG_ADMIN, Role.OFFICER}


def _at(claims: Mapping[str, Any], place: Sequence[str]) -> Any:
    found: Any = claims
    for name in place:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _texts(claims: Mapping[str, Any], place: Sequence[str]) -> set[str]:
    """The text at this place, or the texts of a list there; `scope` is a list in one text (RFC 9068 2.2.3)."""
    found = _at(claims, place)
    if isinstance(found, str):
        return set(found.split(" ")) if tuple(place) == ("scope",) else {found}
    return {each for each in found if isinstance(each, str)} if isinstance(found, list) else set()


def _slug(claims: Mapping[str, Any], place: Sequence[str]) -> str:
    found = _at(claims, place)
    if not isinstance(found, str) or not re.fullmatch(SLUG, found):
        raise Unusable("its organization is missing, or not what the gate's are called by")
    return found


class File(Part):
    issuers: Annotated[tuple[Issuer, ...], Field(min_length=1)]


def read(path: Path) -> tuple[Issuer, ...]:
    """Those of a TOML file. `Misconfigured`: what is wrong with it, and where."""
    try:
        found = File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).issuers
    except ValidationError as error:
        wrong = [f"{_told(each['loc'])}: {each['msg']}" for each in error.errors()]
        raise Misconfigured(f"{path}: {'; '.join(wrong)}") from error
    except (OSError, ValueError) as error:
        raise Misconfigured(f"the file of the issuers cannot be read: {error}") from error
    if len({each.issuer for each in found}) < len(found):
        raise Misconfigured(f"{path}: two entries name the same issuer")
    return found


def _told(place: Sequence[str | int]) -> str:
    """Entries counted from one, as people do: `issuers 1, roles 2, role`."""
    return re.sub(r", (\d+)", r" \1", ", ".join(str(each + 1) if isinstance(each, int) else each for each in place))
