"""Endpoints: enrolled machines, each of one organization."""

from mythos_gate import tables
from mythos_gate.registry.columns import flag, name, one_of, slug, text
from mythos_gate.registry.kind import Column, Kind, Part
from mythos_gate.terms import EndpointStatus, Permission

ENROL = Permission.ENROL
ENDPOINTS = Kind(
    name="endpoints",
    columns={
        "organization": Column(slug, required=True, into="organization_id", to="organizations", by=ENROL),
        "external_id": Column(name, required=True, by=ENROL),
        "name": Column(text, private=True, by=ENROL),
        "status": Column(one_of(EndpointStatus), default=EndpointStatus.ACTIVE, keeps=True),
        "attested": Column(flag, default=False),
    },
    key=("organization", "external_id"),
    parts=(Part(tables.endpoints, key=("organization_id", "external_id"), prefix="ept_"),),
)
