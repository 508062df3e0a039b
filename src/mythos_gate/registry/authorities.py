"""Authorities and the models that they answer for."""

from mythos_gate import tables
from mythos_gate.registry import places
from mythos_gate.registry.change import Change
from mythos_gate.registry.columns import count, many, name, one_of, slug, text, version
from mythos_gate.registry.kind import Column, Kind, Part, Written
from mythos_gate.registry.narrowing import always, fewer, lower
from mythos_gate.terms import AuthorityKind


async def _after(change: Change, written: Written) -> None:
    await places.check(change, (authority["id"] for authority in written["authorities"]), cap=True)


AUTHORITIES = Kind(
    name="authorities",
    columns={
        "authority": Column(slug, required=True, into="slug"),
        "name": Column(text, required=True, narrows=always),
        "kind": Column(one_of(AuthorityKind), required=True),
        "organization_cap": Column(count, narrows=lower),
    },
    key=("authority",),
    parts=(Part(tables.authorities, key=("slug",), prefix="aut_"),),
    after=_after,
)

MODELS = Kind(
    name="models",
    columns={
        "model": Column(slug, required=True, into="id"),
        "authority": Column(slug, required=True, into="authority_id", to="authorities"),
        "name": Column(text, required=True, narrows=always),
        "versions": Column(many(version), required=True, narrows=fewer),
        "capabilities": Column(many(name), required=True, narrows=fewer),
    },
    key=("model",),
    parts=(Part(tables.models, key=("id",)),),
)
