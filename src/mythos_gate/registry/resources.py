"""Records one at a time: read, listed, created and changed, by the same fields and checks as in a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Conflict, Invalid, NotFound, NotPermitted
from mythos_gate.registry import columns, imports, organizations
from mythos_gate.registry.agents import AGENTS
from mythos_gate.registry.authorities import AUTHORITIES, MODELS
from mythos_gate.registry.change import Change
from mythos_gate.registry.delegation import ANEW, HAS_LEFT, Writer, narrowed, requester
from mythos_gate.registry.directives import DIRECTIVES
from mythos_gate.registry.endpoints import ENDPOINTS
from mythos_gate.registry.grants import GRANTS, has_rival
from mythos_gate.registry.kind import Bad, Clock, Column, InvalidFile, Kind, Problems, Row, fill, unique
from mythos_gate.registry.organizations import ORGANIZATIONS
from mythos_gate.registry.people import ASSESSMENT, ERASED, PEOPLE
from mythos_gate.registry.shown import Shown
from mythos_gate.registry.switches import SWITCHES
from mythos_gate.terms import Permission, PersonStatus

PREPARED = ("draft", "prospect")  # what gives access to nobody


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of record as REST has it. `apart`: what is not shown or set here; `fixed`: shown, set elsewhere."""

    kind: Kind
    noun: str
    may_read: Permission = Permission.READ_REGISTRY
    may_write: Permission = Permission.ADMINISTER
    may_create: Permission = Permission.ADMINISTER
    apart: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    constant: frozenset[str] = frozenset()  # set once, when it is made
    widens: bool = False  # whether a change may give access to somebody, and so needs a second officer
    confined: bool = False  # whether an officer sees the own authority's alone
    expires: tuple[str, ...] = ()  # the table's columns by which `expiring_within` finds records

    def comes_in_force(self, members: Mapping[str, Any]) -> bool:
        """Whether the new record may give access to somebody; a directive takes it away, and acts at once."""
        status = str(members.get("status") or "").strip().lower()
        return status not in {"", *PREPARED} and not self.is_staff

    def narrows(self, before: Shown, members: Mapping[str, Any], clock: Clock) -> bool:
        """Whether each of the members takes access away at most. What cannot be read does not."""

        def narrowed(name: str) -> bool:
            column = self.kind.columns[name]
            values = (
                column.read(columns.as_text(column.parse, each[name]), clock) for each in (before.members, members)
            )
            old, new = (column.default if value is None else value for value in values)
            return old == new or column.narrows(old, new)

        try:
            return all(name in self.settable(new=False) and narrowed(name) for name in members)
        except Bad:
            return False

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def article(self) -> str:
        return "an" if self.noun[0] in "aeo" else "a"

    @property
    def shown(self) -> dict[str, Column]:
        return {name: column for name, column in self.kind.columns.items() if name not in self.apart}

    @property
    def filters(self) -> list[str]:
        """The members by which a list can be asked for."""
        return [name for name in FILTERS if name in self.shown]

    def settable(self, *, new: bool) -> dict[str, Column]:
        """Of a record that is there, neither its name nor its status: that has routes of its own."""
        left = self.fixed if new else self.fixed | self.constant | {*self.kind.key, "status"}
        return {name: column for name, column in self.shown.items() if name not in left}

    @property
    def is_staff(self) -> bool:
        """Whether every record is one organization's own."""
        return self.may_read == Permission.READ_STAFF


def _staff(kind: Kind, noun: str, **more: Any) -> Resource:
    """Of one organization, whose administrators enrol them."""
    return Resource(kind, noun, Permission.READ_STAFF, Permission.ENROL, Permission.ENROL, **more)


PROGRAMME = Permission.RUN_PROGRAMME
# Who asks here is the caller, whose name elsewhere is the gate's own id.
ASKED = replace(PEOPLE.columns["requested_by"], parse=columns.reference)
PERSON = _staff(
    replace(PEOPLE, columns={**PEOPLE.columns, "requested_by": ASKED}),
    "person",
    apart=ASSESSMENT,
    fixed=frozenset({"approvals", "requested_by", "review_due"}),
    expires=("training_expires", "review_due"),
)
ORGANIZATION = Resource(ORGANIZATIONS, "organization", widens=True)
RESOURCES = (
    Resource(AUTHORITIES, "authority", may_create=PROGRAMME, constant=frozenset({"kind"}), widens=True),
    Resource(MODELS, "model", constant=frozenset({"authority"}), widens=True),
    ORGANIZATION,
    Resource(GRANTS, "grant", widens=True, confined=True, expires=("not_after",)),
    Resource(DIRECTIVES, "directive", widens=True, confined=True, expires=("ends_at",)),
    PERSON,
    _staff(AGENTS, "agent", expires=("expires_at",)),
    _staff(ENDPOINTS, "endpoint"),
    Resource(SWITCHES, "switch", may_write=PROGRAMME, may_create=PROGRAMME, widens=True),
)
BY_NAME = {resource.name: resource for resource in RESOURCES}
FILTERS = ("organization", "authority", "model", "sponsor", "status")

# --- reading --------------------------------------------------------------------------------------------------

# How a record names another: by the name that people know.
NAMES = {
    "authorities": "(SELECT slug FROM authorities WHERE id = t.{})",
    "organizations": "(SELECT slug FROM organizations WHERE id = t.{})",
    "people": "(SELECT external_id FROM people WHERE id = t.{})",
    "models": "t.{}",
}
LISTS = {
    "approvals": "ARRAY(SELECT approver FROM approvals WHERE person_id = t.id ORDER BY 1)",
    "listed_people": "ARRAY(SELECT p.external_id FROM grant_listed_people l JOIN people p ON p.id = l.person_id"
    " WHERE l.grant_id = t.id ORDER BY 1)",
    "exempt_organizations": "ARRAY(SELECT o.slug FROM directive_exemptions e JOIN organizations o"
    " ON o.id = e.organization_id WHERE e.directive_id = t.id ORDER BY 1)",
}


async def read(connection: AsyncConnection, resource: Resource, reference: str, caller: Caller) -> Shown:
    """By the gate's id or by name (`ORGANIZATION/EXTERNAL_ID`, a slug). `NotFound`, also for what is another's."""
    table, (organization, slash, name) = resource.kind.parts[0].table, reference.partition("/")
    if slash and "external_id" not in table.c:
        raise NotFound(f"no such {resource.noun}")
    if slash:
        condition = f"{_is('organizations', 'organization_id', 'organization')} AND t.external_id = :name"
    else:
        condition = "(t.id = :name OR t.slug = :name)" if "slug" in table.c else "t.id = :name"
    values = {"organization": organization, "name": name if slash else reference}
    found = await _select(connection, resource, caller, f"{condition} LIMIT 1", values)
    if not found:
        raise NotFound(f"no such {resource.noun}")
    return found[0]


@dataclass(frozen=True, slots=True)
class Search:
    """Which records of a kind, in the order of their ids: `filters` by member, behind `after`."""

    filters: Mapping[str, str] = field(default_factory=dict)
    after: str | None = None
    limit: int = 1_000
    expiring: tuple[datetime, datetime] | None = None  # what ends in [from, until)
    country_group: str | None = None  # people with a country in this group; only compliance's connection can read it


# Citizenships and permanent residencies of today, by the data set in force.
IN_GROUP = """EXISTS (SELECT FROM nationality_records r JOIN programme ON true
  JOIN jurisdictions j ON j.data_set_id = programme.data_set_id AND j.code = r.country
  LEFT JOIN jurisdictions h ON h.data_set_id = j.data_set_id AND h.code = j.inherits
  WHERE r.person_id = t.id AND (r.ended IS NULL OR r.ended > CAST(now() AT TIME ZONE 'UTC' AS date))
  AND (:country_group = ANY (coalesce(h.groups, j.groups)) OR :country_group = r.country))"""


async def page(connection: AsyncConnection, resource: Resource, caller: Caller, search: Search) -> list[Shown]:
    """What is found, as this caller may see it."""
    conditions = ["t.id > :after"]
    for name in search.filters:
        column = resource.shown[name]
        conditions.append(_is(str(column.to or ""), column.into or name, name))
    if search.expiring:
        ends = (f"(t.{column} >= :expiring_from AND t.{column} < :expiring_until)" for column in resource.expires)
        conditions.append(f"({' OR '.join(ends)})")
    if search.country_group:
        conditions.append(IN_GROUP)
    since, until = search.expiring or (None, None)
    values = {
        **search.filters,
        "after": search.after or "",
        "limit": search.limit,
        "expiring_from": since,
        "expiring_until": until,
        "country_group": search.country_group,
    }
    return await _select(connection, resource, caller, f"{' AND '.join(conditions)} ORDER BY t.id LIMIT :limit", values)


def _is(table: str, column: str, parameter: str) -> str:
    """That a column names the record of this name; a value, where it names none."""
    if table in {"authorities", "organizations"}:
        return f"t.{column} = (SELECT id FROM {table} WHERE slug = :{parameter})"  # noqa: S608  names of the schema
    if table == "people":
        return f"t.{column} IN (SELECT id FROM people WHERE external_id = :{parameter})"  # noqa: S608
    return f"t.{column} = :{parameter}"


async def _select(
    connection: AsyncConnection, resource: Resource, caller: Caller, end: str, values: Mapping[str, Any]
) -> list[Shown]:
    shown = ", ".join(f'{_expression(name, column)} AS "{name}"' for name, column in resource.shown.items())
    own = "t.organization_id = :own AND " if caller.organization_id else ""
    if caller.authority_id and resource.confined:
        own += "t.authority_id = :own_authority AND "
    query = f"SELECT t.id, {shown} FROM {resource.kind.parts[0].table.name} t WHERE {own}{end}"  # noqa: S608
    named = {"own": caller.organization_id, "own_authority": caller.authority_id}
    rows = await connection.execute(text(query), {**values, **named})
    return [Shown({name: _wire(value) for name, value in row.items()}) for row in rows.mappings()]


def _expression(name: str, column: Column) -> str:
    into = f'"{column.into or name}"'
    return LISTS.get(name) or NAMES.get(str(column.to), "t.{}").format(into)


def _wire(value: Any) -> Any:
    return timestamp(value) if isinstance(value, datetime) else value


# --- writing --------------------------------------------------------------------------------------------------


async def create(change: Change, resource: Resource, members: Mapping[str, Any], writer: Writer) -> Shown:
    """A new record. `Invalid`, `NotPermitted`, or `Conflict` if one of this name is on record."""
    values = dict(members)
    if resource.is_staff and writer.caller.organization:
        values.setdefault("organization", writer.caller.organization)
    _permit(resource, values, writer, new=True)
    if "requested_by" in resource.shown:
        values.setdefault("requested_by", requester(writer.caller, str(values.get("organization"))))
    _complete(resource, values)
    there = f"this name is on record as {resource.article} {resource.noun}: change it instead, or give another name"
    identifier = await create_one(change, narrowed(resource.kind, writer), values, writer.now, there)
    return await _written(change, resource, identifier, members, writer)


async def takes_away(
    connection: AsyncConnection, resource: Resource, before: Shown, members: Mapping[str, Any], now: datetime
) -> bool:
    """Whether the change takes access away at most, so that one officer suffices."""
    narrows = resource.narrows(before, members, Clock(now))
    return narrows and not (resource.kind is GRANTS and await has_rival(connection, before.id))


async def alter(
    change: Change, resource: Resource, reference: str, members: Mapping[str, Any], etag: str, writer: Writer
) -> Shown:
    """The record with these members changed; null takes a value away (RFC 7396).

    `Outdated` if it is not as it was when `etag` was given.
    """
    identifier = (await read(change.connection, resource, reference, writer.caller)).id
    table = resource.kind.parts[0].table.name
    lock = f"SELECT FROM {table} WHERE id = :id FOR NO KEY UPDATE"
    await change.connection.execute(text(lock), {"id": identifier})
    before = await read(change.connection, resource, identifier, writer.caller)
    if resource is PERSON and before.members["status"] == PersonStatus.ERASED:
        raise Conflict(f"{ERASED}: nothing further is possible")
    if before.members.get("employment") == "ended" and "employment" in members:
        raise Conflict(f"{HAS_LEFT}: nothing further is possible, {ANEW}")
    before.require(etag, resource.noun)
    # What a listed person is called, the organization says.
    named = {name: before.members[name] for name in (*resource.kind.key, "organization") if name in before.members}
    _permit(resource, members, writer, new=False, authority=before.members.get("authority"))
    if resource is ORGANIZATION:
        await organizations.permit(change.connection, identifier, writer.caller)
    await take_one(change, narrowed(resource.kind, writer), named | dict(members), writer.now)
    return await _written(change, resource, identifier, members, writer)


def _permit(
    resource: Resource, members: Mapping[str, Any], writer: Writer, *, new: bool, authority: str | None = None
) -> None:
    """`authority`: the one whose record it is, where that is on record."""
    settable, one = resource.settable(new=new), f"{resource.article} {resource.noun}"
    if not members:
        raise Invalid(f"the object is empty: the members of {one} here are {', '.join(settable)}")
    for name in members:
        if name not in settable:
            if name in resource.kind.columns:
                forbidden = "NATIONALITY_FIELD_FORBIDDEN" if name in ASSESSMENT and writer.caller.organization else None
                raise Invalid(f"{name}: is not set here", code=forbidden)
            # Somebody's data may stand where a name should: it is not shown.
            raise Invalid(f"one of the members is none of {one}: they are {', '.join(settable)}")
        if not writer.may(settable[name].by):
            raise NotPermitted(f"{name}: this key may not assert it")
    # Whether another organization exists is not told.
    own = writer.caller.organization
    if resource.is_staff and own and members.get("organization", own) != own:
        raise NotPermitted("organization: this key may not assert it")
    officer_of = writer.caller.authority
    if officer_of and "authority" in resource.kind.columns and (authority or members.get("authority")) != officer_of:
        raise NotPermitted("authority: this key may not assert it")


def _complete(resource: Resource, members: Mapping[str, Any]) -> None:
    settable = resource.settable(new=True)
    if missing := [name for name in settable if resource.kind.must_have(name) and name not in members]:
        raise Invalid(f"{', '.join(missing)}: must be there: add {'it' if len(missing) == 1 else 'them'}")


async def take_one(change: Change, kind: Kind, members: Mapping[str, Any], now: datetime) -> imports.Outcome:
    """Make the registry what the members of one JSON object say. `Invalid` or `Conflict`."""
    problems = Problems(kind)
    return await _take(change, kind, [_row(kind, 0, members, now, problems)], problems)


async def create_one(change: Change, kind: Kind, members: Mapping[str, Any], now: datetime, there: str) -> str:
    """The id of what the members make. `Conflict(there)` if it is on record."""
    [(identifier, what)] = (await take_one(change, kind, members, now)).changed.items() or [("", "unchanged")]
    if what != "created":
        raise Conflict(there)
    return identifier


async def take_all(change: Change, kind: Kind, items: Sequence[Mapping[str, Any]], now: datetime) -> imports.Summary:
    """The same of many, all or none; the entry counts them."""
    problems = Problems(kind)
    rows = []
    for number, members in enumerate(items, start=1):
        for name in members.keys() - kind.columns.keys():
            problems.add(number, None, "is no member of this item", "leave it out", name)
        for name in kind.columns:
            if kind.must_have(name) and kind.columns[name].required and name not in members:
                problems.add(number, name, "must be there", "add it")
        absent = {name: None for name in kind.key if not kind.columns[name].required}
        known = absent | {name: value for name, value in members.items() if name in kind.columns}
        rows.append(_row(kind, number, known, now, problems))
    unique(rows, kind, problems)
    await imports.lock(change.connection, f"{kind.name} over REST")
    outcome = await _take(change, kind, rows, problems)
    return imports.report(change, outcome.summary(kind.name, len(rows)))


def _row(kind: Kind, number: int, members: Mapping[str, Any], now: datetime, problems: Problems) -> Row:
    texts = {}
    for name, value in members.items():
        try:
            texts[name] = columns.as_text(kind.columns[name].parse, value)
        except Bad as bad:
            problems.add(number, name, bad.what, bad.remedy)
    whole = len(texts) == len(members) and all(name in texts for name in kind.key if kind.columns[name].required)
    return fill(number, texts, kind, Clock(now), problems) if whole else Row(number, texts, sound=False)


async def _take(change: Change, kind: Kind, rows: list[Row], problems: Problems) -> imports.Outcome:
    try:
        problems.end()
        return await imports.take(change, kind, rows, problems)
    except InvalidFile as error:
        told = "; ".join(str(each) for each in error.problems).replace("column ", "").replace("line ", "item ")
        raise Invalid(told) from None


async def _written(
    change: Change, resource: Resource, identifier: str, members: Mapping[str, Any], writer: Writer
) -> Shown:
    change.details |= {resource.noun: identifier, "members": sorted(members)}
    return await read(change.connection, resource, identifier, writer.caller)
