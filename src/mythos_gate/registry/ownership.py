"""Ownership: who owns how much of an organization. What a file says of an organization is all that holds."""

from mythos_gate import tables
from mythos_gate.registry.columns import flag, percent, slug, text
from mythos_gate.registry.kind import Column, Kind, Part

OWNERSHIPS = Kind(
    name="ownerships",
    columns={
        "organization": Column(slug, required=True, into="organization_id", to="organizations"),
        "owner": Column(text, required=True, private=True),  # may be a natural person
        "percent": Column(percent, required=True),
        "blocked": Column(flag, default=False),
        "listed": Column(flag, default=False),
    },
    key=("organization", "owner"),
    parts=(Part(tables.ownerships, key=("organization_id", "owner"), whole=True),),
)
