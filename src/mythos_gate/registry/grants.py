"""Grants: an authority's instrument for one organization and one model."""

from sqlalchemy import text as query
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate import tables
from mythos_gate.registry import places
from mythos_gate.registry.change import Change
from mythos_gate.registry.columns import (
    ANYWHERE,
    allowed_country,
    count,
    flag,
    group,
    label,
    many,
    name,
    one_of,
    sha256,
    slug,
    time,
    version,
)
from mythos_gate.registry.kind import After, Bad, Clock, Column, Findings, Kind, Part, Record, Row, Written
from mythos_gate.registry.narrowing import fewer, higher, lower, more, only
from mythos_gate.terms import ForeignNationals, GrantStatus, NationalityBasis

MACAU = "MO"  # in no group that could be excluded in its place


def _excluded(value: str, clock: Clock) -> str:
    try:
        return MACAU if value.upper() == MACAU else group(value, clock)
    except Bad as bad:
        raise Bad(bad.what, f"{bad.remedy}, or MO for Macau") from None


RIVAL = query(
    "SELECT EXISTS (SELECT FROM grants g JOIN authorities a ON a.id = g.authority_id"
    " JOIN grants r ON r.organization_id = g.organization_id AND r.model_id = g.model_id AND r.id <> g.id"
    " JOIN authorities b ON b.id = r.authority_id AND b.kind = a.kind"
    " WHERE g.id = :grant AND g.status <> 'draft' AND r.status <> 'draft'"
    " AND r.nationality_basis IS DISTINCT FROM g.nationality_basis)"
)


async def has_rival(connection: AsyncConnection, grant: str) -> bool:
    """Whether another grant could speak in its place, by another basis: less of one is then more for somebody."""
    return bool((await connection.execute(RIVAL, {"grant": grant})).scalar_one())


def _fewer_countries(before: list[str], after: list[str]) -> bool:
    return ANYWHERE in before or fewer(before, after)


def _listed(row: Row) -> list[Record] | None:
    listed, organization = row.get("listed_people"), row.get("organization")
    return listed and [{"grant_id": row.id, "person_id": each, "organization_id": organization} for each in listed]


def _check(_: Row, before: Record | None, after: After) -> Findings:
    [grant] = after["grants"]
    for column in ("organization", "model"):
        if before and before[f"{column}_id"] != grant[f"{column}_id"]:
            yield column, "is not what this grant was issued for", "give the new instrument a reference of its own"
    if grant["not_after"] and grant["not_after"] <= grant["not_before"]:
        yield "not_after", "is not after not_before", "correct one of the two"


async def _after(change: Change, written: Written) -> None:
    counts = [{"grant_id": grant["id"], "used": 0} for grant in written["grants"]]
    if counts:
        await change.connection.execute(insert(tables.seat_counts).on_conflict_do_nothing(), counts)
    await places.check(change, (grant["authority_id"] for grant in written["grants"]))


GRANTS = Kind(
    name="grants",
    columns={
        "authority": Column(slug, required=True, into="authority_id", to="authorities"),
        "reference": Column(label, required=True),
        "organization": Column(slug, required=True, into="organization_id", to="organizations"),
        "model": Column(slug, required=True, into="model_id", to="models"),
        "status": Column(one_of(GrantStatus), required=True, default=GrantStatus.DRAFT),
        "document_sha256": Column(sha256),
        "not_before": Column(time, required=True, narrows=higher),
        "not_after": Column(time, narrows=lower),
        "versions": Column(many(version), required=True, narrows=fewer),
        "capabilities": Column(many(name), required=True, narrows=fewer),
        "purposes": Column(many(name), required=True, narrows=fewer),
        "foreign_nationals": Column(
            one_of(ForeignNationals), default=ForeignNationals.NONE, narrows=only(ForeignNationals.NONE)
        ),
        "listed_people": Column(many(name), default=[], to="people", narrows=fewer),
        "excluded_groups": Column(many(_excluded), default=[], narrows=more),
        "nationality_basis": Column(one_of(NationalityBasis), default=NationalityBasis.STRICT_ANY_CURRENT),
        "allowed_countries": Column(many(allowed_country), default=[], narrows=_fewer_countries),
        "contractors": Column(flag, default=False, narrows=lower),
        "agents": Column(flag, default=False, narrows=lower),
        "seat_cap": Column(count, narrows=lower),
    },
    key=("authority", "reference"),
    parts=(
        Part(tables.grants, key=("authority_id", "reference"), prefix="grt_"),
        Part(tables.grant_listed_people, key=("grant_id", "person_id"), records=_listed, whole=True),
    ),
    check=_check,
    after=_after,
)
