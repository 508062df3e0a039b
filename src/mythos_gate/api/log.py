"""The log over REST: a decision as its caller may see it, all entries for auditors, receipts and proofs."""

import base64
import binascii
import re
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.api.deps import Gate, MayReadDecisions, MayReadLog, MayReadProgramme, TheGate, read_only
from mythos_gate.api.text import Instant, Text
from mythos_gate.api.tlog import FOR_EVER
from mythos_gate.audit import cosigning, merkle, reading, receipt, timestamps, tlogproof, tree
from mythos_gate.audit.entry import leaf_hash, timestamp
from mythos_gate.audit.reading import Filters
from mythos_gate.authn.api_keys import Caller
from mythos_gate.decision.policy import Reason, parse_reasons
from mythos_gate.errors import Invalid, Misconfigured, NotFound
from mythos_gate.registry import log_keys
from mythos_gate.tables import policy_revisions
from mythos_gate.terms import Permission

router = APIRouter(prefix="/v1", tags=["log"])
PLACE = re.compile(r"([0-9]{1,16}) ([0-9]{1,16})")  # size, index
TEXT = "text/plain; charset=utf-8"
Size = Annotated[int | None, Field(ge=0, le=2**53 - 1, description="of the tree; the newest signed one if left out")]


# --- decisions ------------------------------------------------------------------------------------------------


@router.get("/decisions/{decision}")
async def read_decision(decision: UUID, gate: TheGate, caller: MayReadDecisions) -> dict[str, Any]:
    """A decision. Facts, rows and all codes only for those who may see them; others see their own decisions."""
    async with read_only(gate) as connection:
        entry = reading.members(await _own(gate, connection, caller, decision))
        if not gate.permissions.has(caller, Permission.EXPLAIN):
            return _safe(entry, await _reasons(connection, entry["policy"]["sha256"]))
    await gate.log.note("log_read", {"actor": caller.id, "decision": str(decision), "rows": 1})
    return entry


async def _own(gate: Gate, connection: AsyncConnection, caller: Caller, decision: UUID) -> bytes:
    """The body of a decision that this caller may know of. `NotFound`."""
    body = await reading.find(connection, decision, "decision")
    if body is not None:
        asked = reading.members(body)["caller"]["id"]
        if asked == caller.id or gate.permissions.has(caller, Permission.EXPLAIN):
            return body
    raise NotFound("no such decision")


def _safe(entry: dict[str, Any], reasons: dict[str, Reason]) -> dict[str, Any]:
    reason = reasons[entry["reasons"][0]]
    return {
        "id": entry["id"],
        "at": entry["at"],
        "outcome": entry["outcome"],
        "policy_revision": entry["policy"]["revision"],
        "reason_user": {"code": reason.subject_sees, "message": reason.message},
    }


async def _reasons(connection: AsyncConnection, sha256: str) -> dict[str, Reason]:
    query = select(policy_revisions.c.files).where(policy_revisions.c.sha256 == sha256)
    files = (await connection.execute(query)).scalar_one()
    return parse_reasons(files["reasons.csv"], files["messages.csv"])


@router.get("/decisions/{decision}/receipt", response_class=Response)
async def read_receipt(decision: UUID, gate: TheGate, caller: MayReadDecisions) -> Response:
    """A signed note over the decision's leaf hash: evidence at once, before the next checkpoint."""
    if gate.receipts is None:
        raise Misconfigured("no key signs receipts: run `mythos-gate db upgrade`")
    async with read_only(gate) as connection:
        body = await _own(gate, connection, caller, decision)
    made = receipt.Receipt(gate.settings.origin, str(decision), leaf_hash(body), gate.now)
    return Response(receipt.signed(made, gate.receipts), media_type=TEXT)


@router.get("/decisions/{decision}/proof", response_class=Response)
async def read_decision_proof(decision: UUID, gate: TheGate, caller: MayReadDecisions, size: Size = None) -> Response:
    """That the decision is in the log: an inclusion proof with the checkpoint that it leads to (C2SP tlog-proof)."""
    async with read_only(gate) as connection:
        await _own(gate, connection, caller, decision)
        return await _proof(gate, connection, decision, size)


# --- the log as it is -----------------------------------------------------------------------------------------


@router.get("/log")
async def read_log(gate: TheGate, caller: MayReadProgramme) -> dict[str, Any]:  # noqa: ARG001  the signature says who may call
    """How far the tree, its signed head, its witnesses and its timestamps are. A witness is behind after a minute."""
    async with read_only(gate) as connection:
        found = await tree.state(connection)
        witnesses = await cosigning.states(connection, gate.vouching.witnesses)
        stamped = await timestamps.newest(connection, found.signed)
    return {
        "origin": gate.settings.origin,
        "size": found.size,
        "signed": {"size": found.signed, "at": _time(found.signed_at)},
        "queue": {"waiting": found.waiting, "oldest": _time(found.oldest), "refused": found.refused},
        "witnesses": [
            {"name": each.name, "size": each.size, "at": _time(each.at), "behind": each.behind} for each in witnesses
        ],
        "timestamp": None if stamped is None else {"size": stamped[0], "at": _time(stamped[2])},
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else timestamp(at)


@router.get("/log/timestamps/{size}", response_class=Response)
async def read_timestamp(size: Annotated[int, Path(ge=0, le=2**53 - 1)], gate: TheGate) -> Response:
    """The RFC 3161 response over the text of the head of exactly this size; no key is needed."""
    async with read_only(gate) as connection:
        token = await timestamps.find(connection, size)
    if token is None:
        raise NotFound("the head of this size has no timestamp")
    return Response(
        timestamps.response(token), media_type="application/timestamp-reply", headers={"Cache-Control": FOR_EVER}
    )


# --- entries --------------------------------------------------------------------------------------------------


class Narrowed(BaseModel):
    """What lists and exports can be narrowed to. `subject` is the gate's id of a person or an agent, or a digest."""

    model_config = ConfigDict(extra="forbid")
    type: Annotated[str, StringConstraints(max_length=64, pattern="^[a-z_]+$")] | None = None
    since: Instant | None = None
    until: Instant | None = None
    organization: Annotated[Text | None, Field(description="the gate's id")] = None
    subject: Annotated[Text | None, Field(description="the gate's id of a person or an agent, or a digest")] = None
    decision: Literal["allow", "allow_break_glass", "deny", "hold"] | None = None
    reason: Annotated[str, StringConstraints(max_length=64, pattern="^[A-Z_]+$")] | None = None
    caller: Annotated[Text | None, Field(description="who asked, or who changed something")] = None

    @property
    def filters(self) -> Filters:
        return Filters(**self.model_dump(include=set(Narrowed.model_fields)))


class Page(Narrowed):
    """Of which tree, how much, and from where on."""

    size: Size = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Annotated[str | None, Field(max_length=200)] = None


@router.get("/log/entries")
async def list_entries(gate: TheGate, caller: MayReadLog, asked: Annotated[Page, Query()]) -> dict[str, Any]:
    """Entries in the order of the tree: `stored` is the text whose UTF-8 bytes the leaf hash covers, `body` it parsed.

    All pages are of one tree, of the `size` that the first one names: nothing is skipped or told twice. `next` is null
    on the last page; a page of a list that is narrowed may be empty before.
    """
    filters = asked.filters
    async with read_only(gate) as connection:
        size, start = (asked.size, 0) if asked.cursor is None else _place(asked.cursor)
        pinned = await _signed(connection, size)
        found, onward = await reading.page(connection, start, pinned, asked.limit, filters)
    read = {"actor": caller.id, "from": start, "rows": len(found), "filters": sorted(filters.named)}
    await gate.log.note("log_read", read)
    shown = [
        {"index": leaf.index, "leaf": leaf.leaf.hex(), "stored": leaf.body.decode(), "body": reading.members(leaf.body)}
        for leaf in found
    ]
    return {"size": pinned, "items": shown, "next": None if onward is None else _cursor(pinned, onward)}


async def _signed(connection: AsyncConnection, size: int | None) -> int:
    """The newest signed size, or the one asked for. `Invalid` if no signed head covers that."""
    found = await tree.published(connection)
    newest = found[0].size if found is not None else 0
    if size is not None and size > newest:
        raise Invalid(f"the log has {newest} signed entries so far: ask for no larger size")
    return newest if size is None else size


def _cursor(size: int, index: int) -> str:
    return base64.urlsafe_b64encode(f"{size} {index}".encode()).decode()


def _place(cursor: str) -> tuple[int, int]:
    try:
        if place := PLACE.fullmatch(base64.urlsafe_b64decode(cursor).decode()):
            size, index = place.groups()
            return int(size), int(index)
    except (ValueError, binascii.Error):
        pass
    raise Invalid("cursor: not one that this list gave out")


# --- proofs ---------------------------------------------------------------------------------------------------


@router.get("/log/entries/{entry}/proof", response_class=Response)
async def read_entry_proof(entry: UUID, gate: TheGate, caller: MayReadLog, size: Size = None) -> Response:  # noqa: ARG001  the signature says who may call
    """That an entry is in the log: an inclusion proof with the checkpoint that it leads to (C2SP tlog-proof)."""
    async with read_only(gate) as connection:
        return await _proof(gate, connection, entry, size)


async def _proof(gate: Gate, connection: AsyncConnection, entry: UUID, size: int | None) -> Response:
    """Against a head that witnesses have cosigned, if there is one that covers the entry."""
    head = await cosigning.published(connection, gate.vouching.witnesses, gate.vouching.quorum, size)
    found = head and await tree.inclusion(connection, entry, head[0].size)
    if not found:
        head = await tree.published(connection)
        found = head and await tree.inclusion(connection, entry, head[0].size)
    if not head or not found:
        raise NotFound("no signed head covers this entry yet: ask again in a second, or for its receipt")
    index, hashes = found
    return Response(tlogproof.Proof(index, tuple(hashes), head[1]).format(), media_type=TEXT)


@router.get("/log/consistency")
async def read_consistency(
    response: Response,
    gate: TheGate,
    old: Annotated[int, Query(ge=0, le=2**53 - 1)],
    new: Size = None,
) -> dict[str, Any]:
    """That a log of `old` entries is the beginning of one of `new`: hashes in standard base64 (RFC 9162 2.1.4).

    No key is needed: it follows from the hash tiles, which are public.
    """
    async with read_only(gate) as connection:
        size = await _signed(connection, new)
        if old > size:
            raise Invalid(f"old: a log of {size} entries never had {old}")
        hashes = await tree.proof(connection, merkle.consistency_nodes(old, size))
    if new is not None:
        response.headers["Cache-Control"] = FOR_EVER
    return {"old": old, "new": size, "hashes": [base64.b64encode(value).decode() for value in hashes]}


@router.get("/log/keys")
async def list_keys(gate: TheGate) -> dict[str, Any]:
    """The public keys that signed checkpoints and receipts, as verifier keys (C2SP signed-note); no key is needed.

    Whoever verifies takes them from a place of their own trust: this list is for comparing.
    """
    async with read_only(gate) as connection:
        return {"items": await log_keys.page(connection)}
