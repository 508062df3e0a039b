"""Entries as rows of a table: CSV that is safe in a spreadsheet, and Parquet where pyarrow is installed."""

import csv
import importlib
import importlib.util
import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import orjson

# Column -> where its value stands in a body, or else. What stands nowhere here is in `details`.
COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("id",),
    "at": ("at",),
    "type": ("type",),
    "writer": ("writer",),
    "n": ("n",),
    "actor": ("actor",),
    "caller": ("caller.id",),
    "key": ("caller.key", "key"),
    "subject_type": ("subject.type",),
    "subject": ("subject.id", "agent"),
    "subject_digest": ("subject.digest",),
    "person": ("subject.person", "person"),
    "organization": ("organization",),
    "action": ("action.name",),
    "capability": ("action.capability",),
    "purpose": ("action.purpose",),
    "model": ("resource.id", "model"),
    "version": ("resource.version",),
    "endpoint": ("resource.endpoint", "endpoint"),
    "outcome": ("outcome",),
    "reasons": ("reasons",),
    "cause": ("cause",),
    "bypassed": ("bypassed",),
    "rows": ("rows",),
    "policy_revision": ("policy.revision",),
    "policy_sha256": ("policy.sha256", "sha256"),
    "data_set": ("data_set",),
}
NUMBERS = frozenset({"index", "n", "policy_revision"})
LARGEST = 2**63 - 1  # of Parquet's integers
LISTS = frozenset({"reasons", "cause", "bypassed", "rows"})  # of codes; of an import `rows` is how many it had
NAMES = ("index", *COLUMNS, "leaf", "details")
# Told elsewhere in the row, or of no use in a table.
LEFT_OUT = {"v", "log", "salt", "prev", *(path.partition(".")[0] for paths in COLUMNS.values() for path in paths)}
# OWASP, CSV Injection: a cell that begins so is a formula to a spreadsheet.
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
            "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip

Value = str | int | None


def row(index: int, leaf: bytes, body: bytes) -> dict[str, Value]:
    members = orjson.loads(body)
    counts = {name: members.pop(name) for name in LISTS & members.keys() if not isinstance(members[name], list)}
    found = {name: _first(members, paths) for name, paths in COLUMNS.items()}
    for name, value in found.items():  # of an entry that is not as the gate writes them
        if name not in NUMBERS and isinstance(value, int):
            found[name] = str(value)
        elif name in NUMBERS and (not isinstance(value, int) or abs(value) > LARGEST):
            found[name] = None
    rest = {name: value for name, value in members.items() if name not in LEFT_OUT} | counts
    details = orjson.dumps(rest).decode() if rest else None
    return {"index": index, **found, "leaf": leaf.hex(), "details": details}


def _first(members: dict[str, Any], paths: Sequence[str]) -> Value:
    for path in paths:
        value: Any = members
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            return _flat(value)
    return None


def _flat(value: Any) -> Value:
    """Codes joined by semicolons; a digest in the place of a text that was not on record as `digest:...`."""
    if isinstance(value, list):
        return ";".join(map(str, value))
    if isinstance(value, dict):
        return f"digest:{value['digest']}" if value.keys() == {"digest"} else orjson.dumps(value).decode()
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


# --- CSV ------------------------------------------------------------------------------------------------------


def csv_head() -> bytes:
    return _csv(NAMES)


def csv_line(index: int, leaf: bytes, body: bytes) -> bytes:
    """RFC 4180, in UTF-8. What a spreadsheet would take for a formula has an apostrophe before it."""
    return _csv([_safe(value) for value in row(index, leaf, body).values()])


def _csv(cells: Sequence[Value]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode()


def _safe(value: Value) -> Value:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


# --- Parquet --------------------------------------------------------------------------------------------------


@cache
def has_parquet() -> bool:
    return importlib.util.find_spec("pyarrow") is not None


class Parquet:
    """A file in the making, a row group for each time that rows are written: only one of them is held at once."""

    def __init__(self) -> None:
        # Optional, and slow to import: only who exports it waits for it.
        self._arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
        types = {name: self._arrow.int64() if name in NUMBERS else self._arrow.string() for name in NAMES}
        self._schema = self._arrow.schema(list(types.items()))
        self._made: list[bytes] = []
        self.closed = False
        self._writer = parquet.ParquetWriter(self._arrow.PythonFile(self, "w"), self._schema, compression="zstd")

    def write_rows(self, rows: Sequence[dict[str, Value]]) -> None:
        if rows:
            self._writer.write_table(self._arrow.Table.from_pylist(list(rows), self._schema))

    def finish(self) -> None:
        self._writer.close()

    def take(self) -> bytes:
        made, self._made = b"".join(self._made), []
        return made

    # What pyarrow asks of a file.

    def write(self, data: Any) -> int:
        self._made.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True
