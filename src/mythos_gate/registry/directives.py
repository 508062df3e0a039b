"""Directives: an authority's orders that suspend model versions for a class."""

from mythos_gate import tables
from mythos_gate.registry.columns import label, many, one_of, slug, time, version
from mythos_gate.registry.kind import After, Column, Findings, Kind, Part, Record, Row
from mythos_gate.registry.narrowing import fewer, higher, lower, more, only
from mythos_gate.terms import DirectiveClass


def _exempt(row: Row) -> list[Record] | None:
    exempt = row.get("exempt_organizations")
    return None if exempt is None else [{"directive_id": row.id, "organization_id": each} for each in exempt]


def _check(_: Row, __: Record | None, after: After) -> Findings:
    [directive] = after["directives"]
    if directive["ends_at"] and directive["ends_at"] <= directive["starts_at"]:
        yield "until", "is not after from", "correct one of the two"


DIRECTIVES = Kind(
    name="directives",
    columns={
        "authority": Column(slug, required=True, into="authority_id", to="authorities"),
        "reference": Column(label, required=True),
        "model": Column(slug, required=True, into="model_id", to="models"),
        "versions": Column(many(version), required=True, narrows=more),
        "applies_to": Column(one_of(DirectiveClass), required=True, narrows=only(DirectiveClass.ALL)),
        "from": Column(time, required=True, into="starts_at", narrows=lower),
        "until": Column(time, into="ends_at", narrows=higher),
        "exempt_organizations": Column(many(slug), default=[], to="organizations", narrows=fewer),
    },
    key=("authority", "reference"),
    parts=(
        Part(tables.directives, key=("authority_id", "reference"), prefix="dir_"),
        Part(tables.directive_exemptions, key=("directive_id", "organization_id"), records=_exempt, whole=True),
    ),
    check=_check,
)
