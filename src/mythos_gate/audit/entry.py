"""A log entry: canonical bytes and their leaf hash."""

import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson

VERSION = 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}  # RFC 9562 4.1
LARGEST = 65_535
# What a prepared entry leaves open until it has its place; a registry entry's time as well (bump_revision).
PLACE = ("n", "prev", "writer")
REGISTRY_PLACE = ("at", "n", "prev")
KEY = re.compile(r"[a-z][a-z0-9_]*")
MAX_INTEGER = 2**53 - 1
HOLE = orjson.Fragment(b"\x00")  # in no canonical body: as text it is written \u0000


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


def read(body: bytes) -> dict[str, Any]:
    """The members of a stored body. ValueError unless it is an object in the profile, written in its one way."""
    if not 2 <= len(body) <= LARGEST:
        raise ValueError(f"a log entry has 2 to {LARGEST} bytes, this one {len(body)}")
    members = orjson.loads(body)
    if type(members) is not dict:
        raise ValueError("a log entry is an object")
    try:
        _check(members)
        written = orjson.dumps(members, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise ValueError("a log entry is not nested that deep") from error
    if written != body:
        raise ValueError("a log entry is written in one way only (RFC 8785)")
    return members


# A NUL as JSON writes it: no string of Postgres holds one.
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def is_stored(body: bytes, columns: Mapping[str, str | int]) -> bool:
    """Whether lists and exports can show it, and it says what the columns beside it say: whose, when, which.

    That is one line of JSON as this module writes it. `read` asks for more and takes twice as long; whoever verifies
    uses that.
    """
    try:
        members = orjson.loads(body)
        # Within further lists, as an answer has it: what is nested too deep for that cannot be shown.
        written = orjson.dumps([[[members]]], option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError):
        return False
    has_nul = b"\\" in body and NUL.search(body) is not None  # one byte is found thirty times as fast as the pattern
    is_entry = type(members) is dict and type(members.get("n")) is int and columns.items() <= members.items()
    return is_entry and not has_nul and len(body) <= LARGEST and written[3:-3] == body


# A fragment is canonical already.
PLAIN = frozenset({str, bool, type(None), orjson.Fragment})


def _check(value: Any) -> None:
    kind = type(value)
    if kind is dict:
        for key, member in value.items():
            if not _is_key(key):
                raise ValueError(f"a log entry has no member {key!r}")
            if type(member) not in PLAIN:
                _check(member)
    elif kind is list or kind is tuple:
        for member in value:
            if type(member) not in PLAIN:
                _check(member)
    elif kind is int and abs(value) <= MAX_INTEGER:
        return
    elif kind not in PLAIN and not isinstance(value, str):
        raise ValueError(f"a log entry cannot hold {value!r}")


@lru_cache(4096)
def _is_key(key: object) -> bool:
    return isinstance(key, str) and KEY.fullmatch(key) is not None


def template(members: Mapping[str, Any], holes: Sequence[str]) -> tuple[str, ...]:
    """The canonical body, cut where the members named by `holes` (in sorted order) will stand."""
    _check(members)
    return cut(members, holes)


def cut(members: Mapping[str, Any], holes: Sequence[str]) -> tuple[str, ...]:
    """The same of members that are in the profile as they are made: identifiers, texts and fragments."""
    body = orjson.dumps({**members, **dict.fromkeys(holes, HOLE)}, option=orjson.OPT_SORT_KEYS)
    return tuple(body.decode().split("\x00"))


def fill(parts: Sequence[str], values: Sequence[str | int | None]) -> bytes:
    """The body that a template and the values of its holes give."""
    told = [f"{_told(value)}{part}" for value, part in zip(values, parts[1:], strict=True)]
    body = "".join([parts[0], *told]).encode()
    if len(body) > LARGEST:
        raise ValueError(f"a log entry has at most {LARGEST} bytes, this one {len(body)}")
    return body


def _told(value: str | int | None) -> str:
    return "null" if value is None else canonical(value).decode()


def timestamp(at: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SS.ffffffZ`."""
    # Not strftime: its year has fewer than four digits before the year 1000.
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return f"{utc.isoformat(timespec='microseconds')[:-6]}Z"


class Random:
    """Random bytes of the system, of which many are taken at a time: each call into it costs."""

    def __init__(self) -> None:
        self._bytes, self._at = b"", 0
        # Two processes must never hand out the same.
        os.register_at_fork(after_in_child=self._renew)

    def take(self, size: int) -> bytes:
        if self._at + size > len(self._bytes):
            self._renew()
        self._at += size
        return self._bytes[self._at - size : self._at]

    def _renew(self) -> None:
        self._bytes, self._at = os.urandom(4096), 0


RANDOM = Random()


def uuid7(at: datetime, random: bytes) -> str:
    """RFC 9562 5.7, as text, from a time and 10 random bytes."""
    # In whole numbers: a float of seconds is off by a microsecond in far years, and names the millisecond before.
    since, told = at - EPOCH, random.hex()
    seconds = since.days * 86_400 + since.seconds
    time = f"{(seconds * 1_000 + since.microseconds // 1_000) & (1 << 48) - 1:012x}"
    return f"{time[:8]}-{time[8:]}-7{told[:3]}-{VARIANTS[told[3]]}{told[4:7]}-{told[7:19]}"


def uuid7_time(identifier: UUID) -> datetime:
    """The millisecond that a UUIDv7 names."""
    return EPOCH + timedelta(milliseconds=identifier.int >> 80)
