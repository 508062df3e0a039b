"""A log entry: canonical bytes and their leaf hash."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson

VERSION = 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST = 65_535
# What a prepared entry leaves open until it has its place; a registry entry's time as well (bump_revision).
PLACE = ("n", "prev", "writer")
REGISTRY_PLACE = ("at", "n", "prev")
KEY = re.compile(r"[a-z][a-z0-9_]*")
MAX_INTEGER = 2**53 - 1


# RFC 9162 2.1.1: the prefixes keep a leaf from posing as a node.
def leaf_hash(body: bytes) -> bytes:
    return sha256(b"\x00" + body).digest()


def canonical(value: Any) -> bytes:
    """RFC 8785 JSON in a narrow profile, in which orjson with sorted keys gives the same bytes.

    ASCII snake_case keys; strings, booleans, null, integers up to 2^53-1; no floats. ValueError for anything else.
    """
    _check(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"a log entry cannot hold this: {error}") from error


def _check(value: Any) -> None:
    match value:
        case None | bool() | str():
            return
        case int() if abs(value) <= MAX_INTEGER:
            return
        case dict():
            for key, member in value.items():
                if not (isinstance(key, str) and KEY.fullmatch(key)):
                    raise ValueError(f"a log entry has no member {key!r}")
                _check(member)
        case list() | tuple():
            for member in value:
                _check(member)
        case _:
            raise ValueError(f"a log entry cannot hold {value!r}")


def template(members: Mapping[str, Any], holes: Sequence[str]) -> tuple[str, ...]:
    """The canonical body, cut where the members named by `holes` (in sorted order) will stand."""
    parts = [""]
    for key in sorted({*members, *holes}):
        _check({key: None})
        parts[-1] += ("," if parts != [""] else "{") + f'"{key}":'
        if key in holes:
            parts.append("")
        else:
            parts[-1] += canonical(members[key]).decode()
    parts[-1] += "}"
    return tuple(parts)


def fill(parts: Sequence[str], values: Sequence[Any]) -> bytes:
    """The body that a template and the values of its holes give."""
    pairs = zip(parts, (*(canonical(value).decode() for value in values), ""), strict=True)
    body = "".join(part for pair in pairs for part in pair).encode()
    if len(body) > LARGEST:
        raise ValueError(f"a log entry has at most {LARGEST} bytes, this one {len(body)}")
    return body


def timestamp(at: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SS.ffffffZ`."""
    # Not strftime: its year has fewer than four digits before the year 1000.
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def uuid7(at: datetime, random: bytes) -> UUID:
    """RFC 9562 5.7 from a time and 10 random bytes."""
    # In whole numbers: a float of seconds is off by a microsecond in far years, and names the millisecond before.
    milliseconds = (at - EPOCH) // timedelta(milliseconds=1)
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(random[:10], "big")
    return UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)


def uuid7_time(identifier: UUID) -> datetime:
    """The millisecond that a UUIDv7 names."""
    return EPOCH + timedelta(milliseconds=identifier.int >> 80)
