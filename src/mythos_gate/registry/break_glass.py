"""Break-glass: an incident, its approvers, and how long it passes what may be passed."""

from mythos_gate import tables
from mythos_gate.registry.columns import label, many, name, slug, time
from mythos_gate.registry.kind import After, Column, Findings, Kind, Part, Record, Row
from mythos_gate.registry.people import approver, local


def _tidy(row: Row) -> None:
    organization = row.cells["organization"]
    row.cells["opened_by"] = local(row.cells["opened_by"], organization)
    row.cells["approvers"] = list(dict.fromkeys(local(each, organization) for each in row.cells["approvers"]))


def _check(_: Row, __: Record | None, after: After) -> Findings:
    for opened in after["break_glasses"]:
        if opened["expires_at"] <= opened["opened_at"]:
            yield "expires", "is not after opened", "correct one of the two"


BREAK_GLASS = Kind(
    name="break_glass",
    columns={
        "organization": Column(slug, required=True, into="organization_id", to="organizations"),
        "incident": Column(label, required=True),
        "people": Column(many(name), to="people"),  # none named: anyone
        "model": Column(slug, into="model_id", to="models"),
        "opened_by": Column(approver, required=True),
        "approvers": Column(many(approver), required=True),
        "opened": Column(time, required=True, into="opened_at"),
        "expires": Column(time, required=True, into="expires_at"),
    },
    key=("organization", "incident"),
    parts=(Part(tables.break_glasses, key=("organization_id", "incident"), prefix="bgl_"),),
    tidy=_tidy,
    check=_check,
)
