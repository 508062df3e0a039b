"""A stretch of entries, read into columns: what verifying asks of each entry alone, so that processes share it."""

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from mythos_gate.audit import entry
from mythos_gate.audit.entry import EPOCH, VERSION, leaf_hash
from mythos_gate.audit.merkle import HASH

MICROSECONDS = 1_000_000
UUID = 16  # bytes
NOTHING = bytes(HASH)  # in the place of a hash that there is not
WRITTEN = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"  # at
    r" [0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"  # id
    r" (?:registry|pdp-[0-9a-f]{16})"  # writer
    r" [0-9a-f]{32}"  # salt
    r" (?:None|[0-9a-f]{64})",  # prev
    re.ASCII,
)
SECOND = len("2026-01-31T18:00:00")
SPECIAL = frozenset({"session_opened", "policy_activated", "anchor", "log_pruned", "log_key_retired"})
# Beside the members that every entry has (docs/log.md).
DECISION = frozenset({"caller", "subject", "organization", "action", "resource", "context", "request", "facts",
                      "outcome", "rows", "reasons", "cause", "bypassed", "policy", "data_set"})  # fmt: skip
POLICY = {"revision", "sha256"}
SHA256 = re.compile(r"[0-9a-f]{64}")


class Malformed(ValueError):
    """An entry without what every entry has."""


class Names:
    """Texts of which many rows have the same, each once."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.column: array[int] = array("L")

    def add(self, name: str) -> None:
        self.column.append(self.numbers.setdefault(name, len(self.numbers)))

    def __iter__(self) -> Any:
        names = list(self.numbers)
        return (names[number] for number in self.column)


@dataclass(slots=True)
class Page:
    """Columns, with a row for each line. `bad` tells why a row could not be read; its other columns are empty."""

    leaves: bytearray = field(default_factory=bytearray)
    empty: list[int] = field(default_factory=list)  # rows without an entry
    bad: dict[int, str] = field(default_factory=dict)
    ids: bytearray = field(default_factory=bytearray)
    times: "array[int]" = field(default_factory=lambda: array("q"))  # microseconds since 1970
    numbers: "array[int]" = field(default_factory=lambda: array("Q"))
    previous: bytearray = field(default_factory=bytearray)  # leaf hashes, NOTHING for null
    writers: Names = field(default_factory=Names)
    types: Names = field(default_factory=Names)
    policies: Names = field(default_factory=Names)  # of decisions; of others empty
    special: dict[int, dict[str, Any]] = field(default_factory=dict)  # entries that say something of others

    @property
    def count(self) -> int:
        return len(self.times)


def cells(column: bytearray, width: int = HASH) -> list[bytes]:
    data = bytes(column)
    return [data[at : at + width] for at in range(0, len(data), width)]


def read(origin: str, lines: Sequence[bytes]) -> Page:
    """Hash and read the bodies of a log of this name, one to a line without its line feed."""
    page = Page()
    for row, line in enumerate(lines):
        if not line:
            page.empty.append(row)
            _blank(page, NOTHING)
            continue
        leaf = leaf_hash(line)
        try:
            members = entry.read(line)
            _require_common(origin, members)
            at = _microseconds(members["at"])
            policy = _policy(members)
        except ValueError as error:
            page.bad[row] = str(error)
            _blank(page, leaf)
            continue
        _add(page, leaf, at, policy, members)
        if members["type"] in SPECIAL:
            page.special[row] = members
    return page


def _blank(page: Page, leaf: bytes) -> None:
    page.leaves += leaf
    page.ids += bytes(UUID)
    page.times.append(0)
    page.numbers.append(0)
    page.previous += NOTHING
    for names in (page.writers, page.types, page.policies):
        names.add("")


def _add(page: Page, leaf: bytes, at: int, policy: str, members: dict[str, Any]) -> None:
    page.leaves += leaf
    page.ids += bytes.fromhex(members["id"].replace("-", ""))
    page.times.append(at)
    page.numbers.append(members["n"])
    prev = members["prev"]
    page.previous += NOTHING if prev is None else bytes.fromhex(prev)
    page.writers.add(members["writer"])
    page.types.add(members["type"])
    page.policies.add(policy)


def _require_common(origin: str, members: dict[str, Any]) -> None:
    try:
        if members["v"] != VERSION or type(members["v"]) is not int:
            raise Malformed(f"is of version {members['v']!r}, which is not known here")
        if members["log"] != origin:
            raise Malformed(f"is of another log, {members['log']!r}")
        if type(members["n"]) is not int or members["n"] < 1 or type(members["type"]) is not str:
            raise Malformed("has no type or number as entries have them")
        told = f"{members['at']} {members['id']} {members['writer']} {members['salt']} {members['prev']}"
    except KeyError as error:
        raise Malformed(f"lacks {error}, which every entry has") from error
    if not WRITTEN.fullmatch(told):
        raise Malformed("has a time, id, writer, salt or prev that is not written as those of entries are")


def _policy(members: dict[str, Any]) -> str:
    """On which a decision rests; of other entries empty."""
    if members["type"] != "decision":
        return ""
    if not members.keys() >= DECISION:
        raise Malformed(f"is a decision without {', '.join(sorted(DECISION - members.keys()))}")
    policy = members["policy"]
    if type(policy) is dict and policy.keys() == POLICY and type(policy["revision"]) is int:
        digest = policy["sha256"]
        if type(digest) is str and SHA256.fullmatch(digest):
            return digest
    raise Malformed("is a decision whose policy is not written as {revision, sha256}")


def _microseconds(at: str) -> int:
    return _seconds(at[:SECOND]) * MICROSECONDS + int(at[SECOND + 1 : -1])


@lru_cache(4096)
def _seconds(at: str) -> int:
    """Since 1970. ValueError for a day that there is not."""
    return (datetime.fromisoformat(f"{at}+00:00") - EPOCH) // (EPOCH.resolution * MICROSECONDS)
