"""Organizations: who they are, and whom they belong to."""

from mythos_gate import tables
from mythos_gate.registry.columns import any_country, country, flag, one_of, slug, text
from mythos_gate.registry.kind import Column, Kind, Part
from mythos_gate.terms import OrganizationStatus

ORGANIZATIONS = Kind(
    name="organizations",
    columns={
        "organization": Column(slug, required=True, into="slug"),
        "name": Column(text, required=True),
        "sector": Column(text),
        "status": Column(one_of(OrganizationStatus), required=True),
        "incorporated_in": Column(country),
        "parent_name": Column(text),
        "parent_country": Column(any_country),
        "ownership_change_pending": Column(flag, default=False),
    },
    key=("organization",),
    parts=(Part(tables.organizations, key=("slug",), prefix="org_"),),
)
