"""CSV files of the registry: bytes to rows. Pure."""

import csv
import io
import re
from collections.abc import Iterator
from difflib import get_close_matches

from mythos_gate.registry.kind import LONGEST_CELL, Clock, Kind, Problems, Row, fill, unique

MOST_ROWS = 200_000
# A longer cell is told as such; beyond the module's own limit it would be told as a quote that does not match.
csv.field_size_limit(2**26)


def read(data: bytes, kind: Kind, clock: Clock, problems: Problems) -> list[Row]:
    """The rows of a file. What is wrong goes into `problems`; rows with a bad cell are not `sound`."""
    text = decode(data, problems)
    records = _records(text, _delimiter(text, kind), problems)
    names = _header(records, kind, problems)
    rows: list[Row] = []
    for line, found in records:
        cells = _cut(found, len(names))
        if len(rows) == MOST_ROWS:
            problems.add(line, None, f"a file has at most {MOST_ROWS} rows", "split it")
            break
        if len(cells) == len(names):
            rows.append(fill(line, dict(zip(names, cells, strict=True)), kind, clock, problems))
        else:
            what = f"this row has {len(cells)} cells, the header {len(names)}"
            problems.add(line, None, what, "put cells that contain the delimiter in quotes, or separate lists by |")
    unique(rows, kind, problems)
    return rows


def _cut(cells: list[str], length: int) -> list[str]:
    """Without the empty columns that a spreadsheet leaves at the right."""
    return cells if any(cell.strip() for cell in cells[length:]) else cells[:length]


def decode(data: bytes, problems: Problems) -> str:
    """The text of a file. `InvalidFile` if it is none."""
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    encoding, name = ("utf-16", "UTF-16") if utf16 else ("utf-8-sig", "UTF-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problems.add(line, None, f"the file is not {name}, or is damaged", "save it as CSV UTF-8")
        problems.end()
    if not utf16 and b"\0" in data[:4]:
        problems.add(None, None, "the file looks like UTF-16 without a byte order mark", "save it as CSV UTF-8")
        problems.end()
    # Excel's own line that names the delimiter; its end stays, so that lines are counted as the file has them.
    return re.sub(r"\Asep=.(?=[\r\n])", "", text, flags=re.IGNORECASE)


def _delimiter(text: str, kind: Kind) -> str:
    """Of comma, semicolon and tab the one by which the header has most names that we know."""
    header = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0][:LONGEST_CELL]

    def known(delimiter: str) -> int:
        names = next(csv.reader([header], delimiter=delimiter, skipinitialspace=True), [])
        return sum(_column_name(name) in kind.columns for name in names)

    return max(",;\t", key=known)


def _column_name(text: str) -> str:
    return re.sub(r"[\s-]+", "_", text.strip().lower())


def _records(text: str, delimiter: str, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """Every row that is not blank, with the line at which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            problems.add(line, None, "the quotes of this row do not match", "close every quote; double one inside")
            return
        if any(cell.strip() for cell in cells):
            yield line, cells


def _header(records: Iterator[tuple[int, list[str]]], kind: Kind, problems: Problems) -> list[str]:
    line, cells = next(records, (1, []))
    cells = _cut(cells, 1 + max((at for at, cell in enumerate(cells) if cell.strip()), default=-1))
    names = [_column_name(cell) for cell in cells]
    listed = ", ".join(kind.names)
    if not set(names) & set(kind.columns):
        # Its cells may be somebody's data: none is shown.
        problems.add(line, None, "the first line does not name the columns", f"begin with a header line: {listed}")
        problems.end()
    for at, (name, cell) in enumerate(zip(names, cells, strict=True)):
        if name in kind.refused:
            problems.add(line, name, "this column is not yours to assert", "remove it: others do")
        elif name not in kind.columns:
            near = get_close_matches(name, kind.names, 1, 0.5)
            remedy = f"did you mean {near[0]}?" if near else f"the columns are {listed}"
            problems.add(line, None, "is no column of this file", remedy, cell.strip() or "(empty)")
        elif name in names[:at]:
            problems.add(line, name, "this column is there twice", "remove one of the two")
    for name in kind.columns:
        if kind.must_have(name) and name not in names:
            problems.add(line, name, "this column is missing", "add it")
    problems.end()
    return names
