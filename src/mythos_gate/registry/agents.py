"""Agents: non-human identities, each with one human sponsor of the same organization."""

from mythos_gate import tables
from mythos_gate.registry.columns import count, country, many, name, one_of, slug, text, time
from mythos_gate.registry.kind import Column, Kind, Part
from mythos_gate.terms import AgentStatus, Permission

ENROL = Permission.ENROL
AGENTS = Kind(
    name="agents",
    columns={
        "organization": Column(slug, required=True, into="organization_id", to="organizations", by=ENROL),
        "external_id": Column(name, required=True, by=ENROL),
        "name": Column(text, private=True, by=ENROL),
        "sponsor": Column(name, required=True, into="sponsor_id", to="people", by=ENROL),
        "status": Column(one_of(AgentStatus), default=AgentStatus.ACTIVE, keeps=True),
        "scopes": Column(many(name), default=[], by=ENROL),
        "expires": Column(time, into="expires_at", by=ENROL),
        "runtime_country": Column(country, by=ENROL),
        "depth": Column(count, by=ENROL),
    },
    key=("organization", "external_id"),
    parts=(Part(tables.agents, key=("organization_id", "external_id"), prefix="agt_"),),
)
