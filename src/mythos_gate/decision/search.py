"""Search: which subjects, resources or actions would be allowed (AuthZEN 1.0, section 8).

A candidate is found if an evaluation of the same question would allow it: the same records, facts and policy answer,
in one snapshot a page. Who would still have to claim a free seat is found; nothing is claimed. Of each page one entry
is recorded: a search tells who may do what.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from mythos_gate.authn import bearer
from mythos_gate.authn.api_keys import Caller
from mythos_gate.authn.bearer import Credential
from mythos_gate.authn.permissions import Permissions
from mythos_gate.decision import facts
from mythos_gate.decision.fill import parse_name
from mythos_gate.decision.library import Connection
from mythos_gate.decision.records import Loaded, Pip
from mythos_gate.decision.request import Request
from mythos_gate.revision import Seen
from mythos_gate.terms import Permission

CHUNK = 100  # candidates read and judged at once
MOST = 500  # of one page: well within the deadline
ACTION = "invoke"  # the only one that grants speak of
MOST_USES = 256  # of one subject: capability and purpose, as its organization's grants name them

# The number stands in the text: planned for any number, a page would sort the whole table.
SUBJECTS = f"""
SELECT s.id, o.slug || '/' || s.external_id AS name
FROM {{table}} s JOIN organizations o ON o.id = s.organization_id
WHERE s.id > $1 ORDER BY s.id LIMIT {CHUNK + 1}
"""  # noqa: S608
# For whoever is confined to some organizations: a few of each, not one by one of all the others'.
CONFINED = f"""
SELECT s.id, o.slug || '/' || s.external_id AS name
FROM organizations o CROSS JOIN LATERAL (
  SELECT id, external_id FROM {{table}}
  WHERE organization_id = o.id AND id > $1 ORDER BY id LIMIT {CHUNK + 1}) s
WHERE o.id = ANY ($2) ORDER BY s.id LIMIT {CHUNK + 1}
"""  # noqa: S608
TABLES = {"person": "people", "agent": "agents"}
MODELS = f"SELECT id FROM models WHERE id > $1 AND ($2::text[] IS NULL OR id = ANY ($2)) ORDER BY id LIMIT {CHUNK + 1}"  # noqa: S608
USES = f"""
SELECT DISTINCT capability, purpose
FROM grants g, unnest(g.capabilities) AS capability, unnest(g.purposes) AS purpose
WHERE g.model_id = $1 AND g.status = 'active' AND g.organization_id IN (
  SELECT organization_id FROM people WHERE id = $2 UNION SELECT organization_id FROM agents WHERE id = $2
  UNION SELECT id FROM organizations WHERE slug = $3)
ORDER BY 1, 2 LIMIT {MOST_USES}
"""  # noqa: S608


class Kind(StrEnum):
    """What is searched for."""

    SUBJECT = "subject"
    RESOURCE = "resource"
    ACTION = "action"


@dataclass(frozen=True, slots=True)
class Search:
    """A question with one identifier left open, who asks it, when it was received, and the page wanted.

    `entities` are those sent, with all their properties: a PDP of something else than models reads them. `after` is
    where the page before ended, "" for the first one.
    """

    kind: Kind
    request: Request
    key: Credential
    received: float
    entities: Mapping[str, Any]
    after: str = ""
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A page: the identifiers that would be allowed, and where the next one starts; None if there is none."""

    ids: tuple[str, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """What was found, for whom, the snapshot in which it was, and the keys that it rests on."""

    found: Found
    caller: Caller
    seen: Seen
    until: datetime  # when time alone may change an answer
    keys: frozenset[str]


@dataclass(slots=True)
class Source:
    """What a page is read from, and what it rests on so far."""

    connection: Connection
    pip: Pip
    presented: str  # the id of the key or token
    opening: Loaded  # who asks, and the programme
    keys: set[str]
    until: datetime

    @property
    def caller(self) -> Caller:
        stored = self.opening.stored_key
        assert stored is not None
        return stored.caller


@dataclass(frozen=True, slots=True)
class Judged:
    """Whether it would be allowed, and the keys that this rests on."""

    allowed: bool
    keys: frozenset[str]
    until: datetime


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One that may be found, and the questions of which one has to be allowed."""

    place: str
    id: str
    requests: tuple[Request, ...]


async def judge(source: Source, requests: Sequence[Request]) -> list[Judged]:
    """What each of these questions would be answered, in the connection's snapshot."""
    judged = []
    found = await source.pip.load(lambda: nullcontext(source.connection), source.presented, requests)
    for request, loaded in zip(requests, found, strict=True):
        derived = facts.derive(loaded.records, request, loaded.now)
        decision = loaded.policy.decide(derived.vector)
        judged.append(Judged(decision.allowed, loaded.keys, min(derived.until, loaded.choice.until)))
        await asyncio.sleep(0)  # decisions and stops go first
    return judged


async def page(connection: Connection, pip: Pip, permissions: Permissions, search: Search) -> Page:
    """One page, in one snapshot. `NotAuthenticated` or `NotPermitted` if its caller may not ask.

    At most `MOST` candidates are looked at, so a page may hold fewer than its limit, or nothing, and not be the last.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        nobody = replace(search.request, subject_type="", endpoint=None, break_glass=None)
        (opening,) = await pip.load(lambda: nullcontext(connection), search.key.id, [nobody])
        caller = bearer.verify(search.key, opening.stored_key, opening.now)
        permissions.require(caller, Permission.EVALUATE)
        until = bearer.ends(search.key, opening.stored_key) or facts.FAR
        source = Source(connection, pip, search.key.id, opening, set(opening.keys), until)
        found = await _page(source, search)
    return Page(found, caller, pip.known.seen, source.until, frozenset(source.keys))


async def _page(source: Source, search: Search) -> Found:
    limit = MOST if search.limit is None else search.limit
    ids: list[str] = []
    place = search.after
    for _ in range(MOST // CHUNK):
        read = await _candidates(source, search, place)
        for candidate, allowed in await _judged(source, read[:CHUNK]):
            if allowed and len(ids) == limit:
                return Found(tuple(ids), place)
            place = candidate.place
            if allowed:
                ids.append(candidate.id)
        if len(read) <= CHUNK:
            return Found(tuple(ids), None)
        if len(ids) == limit:
            break
    return Found(tuple(ids), place)


async def _judged(source: Source, candidates: Sequence[_Candidate]) -> list[tuple[_Candidate, bool]]:
    """Each candidate with whether it is found."""
    judged = iter(await judge(source, [request for each in candidates for request in each.requests]))
    answers = []
    for candidate in candidates:
        mine = [next(judged) for _ in candidate.requests]
        source.keys.update(*(each.keys for each in mine))
        source.until = min([source.until, *(each.until for each in mine)])
        answers.append((candidate, any(each.allowed for each in mine)))
    return answers


async def _candidates(source: Source, search: Search, after: str) -> list[_Candidate]:
    """In their order, those after this place, one more than are judged. What is not on record is no candidate."""
    request, connection, models = search.request, source.connection, _sorted(source.caller.models)
    if request.resource_type != "model" or (search.kind != Kind.ACTION and request.action != ACTION):
        return []
    if search.kind == Kind.RESOURCE:
        rows = await connection.fetch(MODELS, after, models)
        return [_Candidate(row["id"], row["id"], (replace(request, model=row["id"]),)) for row in rows]
    if not source.opening.model_known or (models is not None and request.model not in models):
        return []
    if search.kind == Kind.ACTION:
        uses = await _uses(connection, replace(request, action=ACTION))
        return [_Candidate(ACTION, ACTION, uses)] if after < ACTION else []
    if request.subject_type not in TABLES:
        return []
    confined = _sorted(source.caller.organizations)
    statement = (SUBJECTS if confined is None else CONFINED).format(table=TABLES[request.subject_type])
    rows = await connection.fetch(statement, *(each for each in (after, confined) if each is not None))
    return [_Candidate(row["id"], row["name"], (replace(request, subject_id=row["id"]),)) for row in rows]


async def _uses(connection: Connection, request: Request) -> tuple[Request, ...]:
    """The question for the capability and purpose asked for; of what is not said, any that the grants name will do."""
    if request.capability is not None and request.purpose is not None:
        return (request,)
    organization, _ = parse_name(request.subject_id) or (None, None)
    rows = await connection.fetch(USES, request.model, request.subject_id, organization)
    capability, purpose = request.capability, request.purpose
    named = [
        replace(
            request,
            capability=row["capability"] if capability is None else capability,
            purpose=row["purpose"] if purpose is None else purpose,
        )
        for row in rows
    ]
    return (request, *(each for each in named if each != request))


def _sorted(codes: frozenset[str] | None) -> list[str] | None:
    return None if codes is None else sorted(codes)
