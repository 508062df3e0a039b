"""Screenings: what a provider found about a person, or, without one, about the organization itself."""

from mythos_gate import tables
from mythos_gate.registry.columns import label, name, one_of, slug, time
from mythos_gate.registry.kind import Column, Kind, Part, Row
from mythos_gate.terms import ScreeningStatus


def _of_organization(row: Row) -> bool:
    return row.get("person") is None


def _of_person(row: Row) -> bool:
    return row.get("person") is not None


SCREENINGS = Kind(
    name="screenings",
    columns={
        "organization": Column(slug, required=True, into="organization_id", to="organizations"),
        "person": Column(name, into="person_id", to="people"),
        "status": Column(one_of(ScreeningStatus), required=True),
        "screened_at": Column(time),
        "list_version": Column(label),
    },
    key=("organization", "person"),
    parts=(
        Part(tables.organization_screenings, key=("organization_id",), when=_of_organization),
        Part(tables.person_screenings, key=("person_id",), when=_of_person),
    ),
)
