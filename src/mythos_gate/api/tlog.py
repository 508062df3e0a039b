"""The log for everybody: checkpoint and tiles as C2SP tlog-tiles has them. Entries are for auditors alone."""

import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.api.deps import MayReadLog, TheGate, read_only
from mythos_gate.audit import reading, tree
from mythos_gate.audit.merkle import HASH, TILE_WIDTH, Tile
from mythos_gate.audit.merkle import width as width_of
from mythos_gate.errors import NotFound

router = APIRouter(tags=["tree"])
FOR_EVER = "public, max-age=31536000, immutable"
# Groups of three digits, all but the last with an x before them; for a tile that is not full, its width.
INDEX = re.compile(r"((?:x\d{3}/)*\d{3})(?:\.p/([1-9]\d{0,2}))?", re.ASCII)
Index = Annotated[str, Path(max_length=40)]
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"


@router.get("/checkpoint", response_class=Response)
async def checkpoint(gate: TheGate) -> Response:
    """The newest signed head of the log (C2SP tlog-checkpoint), with its witnesses' cosignatures so far."""
    async with read_only(gate) as connection:
        found = await tree.published(connection)
    if found is None:
        raise NotFound("nothing was signed yet")
    return Response(found[1], media_type=TEXT, headers={"Cache-Control": "no-cache"})


@router.get("/tile/entries/{index:path}", response_class=Response)
async def entry_bundle(index: Index, gate: TheGate, caller: MayReadLog) -> Response:
    """Up to 256 entries, each behind its length in two bytes, big-endian."""
    async with read_only(gate) as connection:
        tile, width = await _published(connection, 0, index)
        bodies = await reading.bodies(connection, tile.index * TILE_WIDTH, width)
    if len(bodies) < width:
        raise NotFound("these entries are no longer kept")
    await gate.log.note("log_read", {"actor": caller.id, "from": tile.index * TILE_WIDTH, "rows": width})
    return Response(_bundle(bodies), media_type=BYTES, headers={"Cache-Control": FOR_EVER.replace("public", "private")})


def _bundle(bodies: Sequence[bytes]) -> bytes:
    return b"".join(len(body).to_bytes(2, "big") + body for body in bodies)


@router.get("/tile/{level}/{index:path}", response_class=Response)
async def hash_tile(level: Annotated[int, Path(ge=0, le=63)], index: Index, gate: TheGate) -> Response:
    """Up to 256 hashes, one after another."""
    async with read_only(gate) as connection:
        tile, width = await _published(connection, level, index)
        hashes = (await tree.tiles(connection, [tile]))[tile]
    return Response(hashes[: width * HASH], media_type=BYTES, headers={"Cache-Control": FOR_EVER})


async def _published(connection: AsyncConnection, level: int, index: str) -> tuple[Tile, int]:
    """The tile that a path names, with its width, if a signed head covers it."""
    matched = INDEX.fullmatch(index)
    if matched is None:
        raise NotFound("a tile is named like 4 or x001/067.p/12 (C2SP tlog-tiles)")
    number = matched[1].replace("x", "").replace("/", "")
    if matched[1] != tile_path(int(number)):
        raise NotFound("a tile's number has no leading zeros beyond its groups of three digits")
    tile, width = Tile(level, int(number)), int(matched[2] or TILE_WIDTH)
    found = await tree.published(connection)
    if found is None or width > width_of(tile, found[0].size) or (matched[2] and width >= TILE_WIDTH):
        raise NotFound("there is no such tile yet")
    return tile, width


def tile_path(index: int) -> str:
    """C2SP tlog-tiles: 1234067 is x001/x234/067."""
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03}")
    return "/".join(groups)
