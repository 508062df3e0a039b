"""People: employees and contractors, their obligations, and, apart, what export control knows of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import RowMapping, select, update
from sqlalchemy import text as query
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate import tables
from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Conflict
from mythos_gate.registry import seats
from mythos_gate.registry.change import Change
from mythos_gate.registry.columns import (
    any_country,
    country,
    day,
    email,
    flag,
    label,
    many,
    name,
    one_of,
    reference,
    slug,
    text,
    time,
)
from mythos_gate.registry.kind import (
    After,
    Bad,
    Clock,
    Column,
    Country,
    Findings,
    Kind,
    Part,
    Problems,
    Record,
    Row,
    Written,
)
from mythos_gate.registry.nationality import commit
from mythos_gate.terms import Employment, NationalityKind, Permission, PersonStatus, UsBasis, UsPerson

# What compliance alone may see: the members, and their tables.
ASSESSMENT = frozenset({"us_person", "us_basis", "citizenships", "permanent_residencies", "evidence_expires"})
APART = (tables.export_assessments, tables.nationality_records)


async def _after(change: Change, written: Written) -> None:
    """Seats end with the person's suspension or end; what changed of nationality is committed to."""
    left = [
        person["id"]
        for person in written["people"]
        if person["status"] == PersonStatus.SUSPENDED or person["employment"] == Employment.ENDED
    ]
    await seats.release(change.connection, left)
    await commit(change, (record["person_id"] for table in APART for record in written[table.name]))


ERASED = "the person was erased"


# --- approvers ------------------------------------------------------------------------------------------------


def approver(value: str, clock: Clock) -> str:
    """Who asked or approved, by an external id; of another organization as `ORGANIZATION/EXTERNAL_ID`."""
    if value.rsplit("/", maxsplit=1)[-1].lower().startswith("per_"):
        raise Bad("is an id of the gate's own", "give the external id")
    return reference(value, clock)


def local(value: str | None, organization: str) -> str | None:
    """Without the own organization in front: one person must not count as two."""
    return None if value is None else value.removeprefix(f"{organization}/")


def _tidy(row: Row) -> None:
    organization = row.cells["organization"]
    if "requested_by" in row.cells:
        row.cells["requested_by"] = local(row.cells["requested_by"], organization)
    if "approvals" in row.cells:
        row.cells["approvals"] = list(dict.fromkeys(local(each, organization) for each in row.cells["approvals"]))


def _approvals(row: Row) -> list[Record] | None:
    approvals = row.get("approvals")
    return None if approvals is None else [{"person_id": row.id, "approver": each} for each in approvals]


async def approve(change: Change, person: str, by: Caller) -> None:
    """One approver's own word. `Conflict` for whoever requested, for the person, and for a second time."""
    name, approvals = await _another(change, person, by), tables.approvals
    # As it was imported, perhaps before they were on record: facts count the two as one.
    given = approvals.c.approver.in_({name, by.person or name})
    if (await change.connection.execute(select(approvals).where(approvals.c.person_id == person, given))).first():
        raise Conflict("you have approved this person before: another approver must")
    await change.connection.execute(insert(approvals).values(person_id=person, approver=name))
    change.details |= {"person": person}


async def review(change: Change, person: str, by: Caller, due: datetime, now: datetime) -> None:
    """Access is still needed; the next review is due then. `Conflict` for whoever requested, and for the past."""
    await _another(change, person, by)
    if due <= now:
        raise Conflict("the next review would be overdue at once: give a time to come")
    await change.connection.execute(update(tables.people).where(tables.people.c.id == person).values(review_due=due))
    change.details |= {"person": person}


async def release_seats(change: Change, person: str) -> None:
    """Free the person's places under every cap; the next allow takes them again."""
    await _locked(change, person)
    await seats.release(change.connection, [person])
    change.details |= {"person": person}


async def _locked(change: Change, person: str) -> RowMapping:
    of_person = (tables.people.c[name] for name in ("requested_by", "external_id", "status"))
    named = select(*of_person, tables.organizations.c.slug).join(tables.organizations)
    locked = named.where(tables.people.c.id == person).with_for_update(key_share=True, of=tables.people)
    found = (await change.connection.execute(locked)).mappings().one()
    if found["status"] == PersonStatus.ERASED:
        raise Conflict(f"{ERASED}: nothing further is possible")
    return found


async def _another(change: Change, person: str, by: Caller) -> str:
    """The name of somebody who neither requested access nor would have it, as approvals of this person keep it."""
    row = await _locked(change, person)
    name = by.identity_in(row["slug"])
    if ({name, by.identity, by.id, by.person} - {None}) & {row["requested_by"], row["external_id"]}:
        what = "whoever requested access for a person, or is that person, neither approves nor reviews it"
        raise Conflict(f"{what}: somebody else must", code="SELF_APPROVAL_FORBIDDEN")
    return name


# --- nationality ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Nationality:
    """`COUNTRY`, `COUNTRY@ACQUIRED`, `COUNTRY@ACQUIRED..ENDED` or `COUNTRY@..ENDED`."""

    country: Country
    acquired: date | None = None
    ended: date | None = None


def nationality(value: str, clock: Clock) -> Nationality:
    place, _, dates = (part.strip() for part in value.partition("@"))
    acquired, _, ended = (part.strip() for part in dates.partition(".."))
    if not place:
        raise Bad("lacks a country", "use COUNTRY, COUNTRY@1991-01-01 or COUNTRY@1984-01-01..2019-09-01")
    begun, over = (day(each, clock) if each else None for each in (acquired, ended))
    if begun and over and over < begun:
        raise Bad("ends before it was acquired", "use COUNTRY@ACQUIRED..ENDED")
    return Nationality(any_country(place, clock), begun, over)


def _records(kind: NationalityKind, column: str) -> Callable[[Row], list[Record] | None]:
    def records(row: Row) -> list[Record] | None:
        held = row.get(column)
        return None if held is None else [_record(row.id, kind, each) for each in held]

    return records


def _record(person: str, kind: NationalityKind, held: Nationality) -> Record:
    place = {"country": held.country.code, "country_text": held.country.text}
    return {"person_id": person, "kind": kind, **place, "acquired": held.acquired, "ended": held.ended}


def _nationalities(kind: NationalityKind, column: str) -> Part:
    return Part(
        tables.nationality_records,
        key=("person_id", "kind", "country", "country_text", "acquired", "ended"),
        prefix="nat_",
        records=_records(kind, column),
        whole=True,
        among={"kind": kind},
    )


def _check(_: Row, __: Record | None, after: After) -> Findings:
    if any(record["status"] == PersonStatus.ERASED for record in after["people"]):
        yield "status", "is what an erasure leaves", "request it: POST /v1/people/ORGANIZATION/EXTERNAL_ID/erasure"
    us_person = any(record["us_person"] == UsPerson.YES for record in after.get("export_assessments", ()))
    if us_person and after["nationality_records"]:
        what = "nationality records are kept only for people who are not US persons"
        yield "us_person", what, "empty citizenships and permanent_residencies, or correct us_person"


ROUTES = frozenset({"assessment", "eligibility"})


def _external_id(value: str, clock: Clock) -> str:
    if value in ROUTES:
        raise Bad("is what a path ends with", "give another external id")
    return name(value, clock)


# --- who was erased -------------------------------------------------------------------------------------------

KNOWN = query("""
SELECT asked.name, e.person_id FROM unnest(CAST(:names AS text[])) AS asked (name)
JOIN organizations o ON o.slug = split_part(asked.name, '/', 1) JOIN erased_people e ON e.organization_id = o.id
WHERE e.digest = sha256(e.salt || convert_to(split_part(asked.name, '/', 2), 'UTF8'))
""")


async def _know_erased(connection: AsyncConnection, rows: list[Row], problems: Problems) -> None:
    """Whoever was erased does not come back by an old list; where it names them for others, their id stands instead."""
    names = {each for row in rows for each in _names(row)}
    found: dict[str, str] = {row[0]: row[1] for row in await connection.execute(KNOWN, {"names": list(names)})}
    if not found:
        return
    for row in rows:
        if _full(row, row.get("external_id") or "") in found:
            remedy = "leave the row out; who comes back is registered under another external id"
            shown = row.texts.get("external_id")
            problems.add(row.line, "external_id", "is the name of somebody who was erased", remedy, shown)
            row.sound = False
        if row.get("approvals"):
            row.cells["approvals"] = [found.get(_full(row, each), each) for each in row.cells["approvals"]]
        if row.get("requested_by"):
            row.cells["requested_by"] = found.get(_full(row, row.cells["requested_by"]), row.cells["requested_by"])


def _names(row: Row) -> Iterator[str]:
    for each in (row.get("external_id"), row.get("requested_by"), *(row.get("approvals") or ())):
        if each:
            yield _full(row, each)


def _full(row: Row, called: str) -> str:
    return called if "/" in called else f"{row.get('organization')}/{called}"


# --- the file -------------------------------------------------------------------------------------------------

ENROL = Permission.ENROL
PEOPLE = Kind(
    name="people",
    columns={
        "organization": Column(slug, required=True, into="organization_id", to="organizations", by=ENROL),
        "external_id": Column(_external_id, required=True, by=ENROL),
        "name": Column(text, private=True, by=ENROL),
        "email": Column(email, private=True, by=ENROL),
        "work_country": Column(country, by=ENROL),
        "status": Column(one_of(PersonStatus), default=PersonStatus.ACTIVE, keeps=True),
        "employment": Column(one_of(Employment), required=True, by=ENROL),
        "us_person": Column(one_of(UsPerson), default=UsPerson.UNKNOWN, private=True),
        "us_basis": Column(one_of(UsBasis), private=True),
        "citizenships": Column(many(nationality), default=[], private=True),
        "permanent_residencies": Column(many(nationality), default=[], private=True),
        "evidence_expires": Column(time, private=True),
        "training_expires": Column(time, by=ENROL),
        "acceptable_use": Column(flag, default=False, by=ENROL),
        "technology_control_plan": Column(flag, default=False, by=ENROL),
        "obligations_evidence": Column(label, by=ENROL),
        "approvals": Column(many(approver), default=[]),
        "requested_by": Column(approver),
        "review_due": Column(time),
    },
    key=("organization", "external_id"),
    parts=(
        Part(tables.people, key=("organization_id", "external_id"), prefix="per_"),
        Part(tables.approvals, key=("person_id", "approver"), records=_approvals, whole=True),
        Part(tables.export_assessments, key=("person_id",)),
        _nationalities(NationalityKind.CITIZENSHIP, "citizenships"),
        _nationalities(NationalityKind.PERMANENT_RESIDENCY, "permanent_residencies"),
    ),
    tidy=_tidy,
    before=_know_erased,
    check=_check,
    after=_after,
)
