"""A bundle: entries of the log and what proves them, in one ZIP or in the folder that it was extracted to.

Nothing in it is trusted for being there: the checkpoint is held to a key that the verifier has from elsewhere, and the
entries to the checkpoint. The manifest only tells what was exported, and finds a file that was damaged on the way.
"""

import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from lzma import LZMAError
from pathlib import Path
from typing import IO, Any, Self, cast
from zlib import error as ZlibError  # noqa: N812  it is a class

import orjson

from mythos_gate.audit import note
from mythos_gate.audit.entry import LARGEST
from mythos_gate.audit.merkle import HASH
from mythos_gate.audit.note import LARGEST_NUMBER, BadNote, SignerKey, VerifierKey

VERSION = 1
SUFFIX = "/export"
MANIFEST = "manifest.note"
CHECKPOINT = "checkpoint"
# Signed heads of sizes within the range, one to a line: where the tree is not what was signed, they say since when.
CHECKPOINTS = "checkpoints.ndjson"
# Line i is the body of leaf `from` + i, empty if it is no longer kept; of a narrowed bundle those that fit.
RECORDS = "records.ndjson"
# The leaf hashes of the range as the tree has them, 32 bytes each: they tell which entry is another than it was.
LEAVES = "leaves.bin"
# The hashes of merkle.range_nodes, left then right, a line of base64 each: the range is complete if they fit.
SUBTREES = "subtrees.txt"
# Of a narrowed bundle: for each record its index and its inclusion proof.
PROOFS = "proofs.ndjson"
SMALL = 1_000_000  # bytes of what is read whole
# A few bytes of a ZIP become as many as one likes. An export has 2,000 heads at most, with 100 signatures each.
MOST_BYTES = 50_000_000
MOST_LINES = 10_000
BLOCK = 1 << 20  # bytes
# What reading a ZIP raises, whichever part of it is not what it should be.
DAMAGED = (
    zipfile.BadZipFile, ZlibError, LZMAError, struct.error, EOFError, OSError, KeyError, ValueError, OverflowError,
    RuntimeError, NotImplementedError,
)  # fmt: skip


class Unreadable(ValueError):
    """It is not a bundle, or damaged so that it cannot be looked into."""


@dataclass(frozen=True)
class Member:
    """A file of the bundle: bytes, and SHA-256 in hexadecimal digits."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What was exported: leaves `start` to `end` (without it) of the tree of `size`; by whom, when, narrowed how."""

    origin: str
    export: str  # a UUID, which the log's entry of the export names
    at: str
    by: str
    start: int
    end: int
    size: int
    records: int
    filters: dict[str, str]
    not_kept: int  # entries of the range that are no longer in the log
    files: dict[str, Member] = field(default_factory=dict)
    keys: list[dict[str, Any]] = field(default_factory=list)  # all that signed, for comparing: trusted by nobody

    @property
    def is_complete(self) -> bool:
        """Whether the bundle can prove that no entry of its range is left out."""
        return not self.filters

    def format(self) -> str:
        told = {
            "v": VERSION,
            "log": self.origin,
            "export": self.export,
            "at": self.at,
            "by": self.by,
            "from": self.start,
            "to": self.end,
            "size": self.size,
            "records": self.records,
            "filters": self.filters,
            "complete": self.is_complete,
            "not_kept": self.not_kept,
            "files": {name: {"size": each.size, "sha256": each.sha256} for name, each in self.files.items()},
            "keys": self.keys,
        }
        return f"{self.origin}{SUFFIX}\n{orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From the text of a note. `Unreadable`."""
        name, _, rest = text.partition("\n")
        try:
            told = orjson.loads(rest)
            files = {each: Member(_whole(of["size"]), _text(of["sha256"])) for each, of in told["files"].items()}
            start, end, size = (_whole(told[each]) for each in ("from", "to", "size"))
            made = cls(
                origin=_text(told["log"]), export=_text(told["export"]), at=_text(told["at"]), by=_text(told["by"]),
                start=start, end=end, size=size, records=_whole(told["records"]),
                filters={each: _text(value) for each, value in told["filters"].items()},
                not_kept=_whole(told["not_kept"]), files=files, keys=list(told["keys"]),
            )  # fmt: skip
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unreadable(f"{MANIFEST} is not that of a bundle: {error!r}") from error
        if told.get("v") != VERSION or name != made.origin + SUFFIX or not start <= end <= size:
            raise Unreadable(f"{MANIFEST} is not that of a bundle of version {VERSION}")
        return made


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST_NUMBER:
        raise ValueError("this is no whole number")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("this is no text")
    return value


def signed(manifest: Manifest, signer: SignerKey) -> bytes:
    """The manifest as a note, signed by the key of receipts under the name for exports."""
    return note.sign(manifest.format(), [SignerKey(manifest.origin + SUFFIX, signer.private)])


def is_signed(given: bytes, keys: Iterable[VerifierKey], origin: str) -> bool:
    """Whether one of the keys of receipts signed the manifest. BadNote if its signature does not hold."""
    named = [VerifierKey(origin + SUFFIX, key.public) for key in keys]
    return bool(note.read(given, named).verified)


# --- writing --------------------------------------------------------------------------------------------------


class _Sink:
    """Where a ZIP goes that is sent on while it is made: it is only ever added to."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass


class Archive:
    """A ZIP in the making. The manifest comes last, so that what was cut off has none."""

    def __init__(self, at: datetime) -> None:
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(cast("IO[bytes]", self._sink), "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self._time = at.timetuple()[:6]
        self._open: tuple[str, IO[bytes]] | None = None
        self._digest, self._size = sha256(), 0
        self.files: dict[str, Member] = {}

    def begin(self, name: str) -> None:
        info = zipfile.ZipInfo(name, self._time)
        info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
        # Hashes do not compress, and how long a file gets is not known before: hence force_zip64.
        info._compresslevel = 1  # type: ignore[attr-defined]  # noqa: SLF001  public from Python 3.13 on
        self._open = name, self._zip.open(info, "w", force_zip64=True)
        self._digest, self._size = sha256(), 0

    def write(self, data: bytes) -> None:
        assert self._open is not None
        self._open[1].write(data)
        self._digest.update(data)
        self._size += len(data)

    def end(self) -> None:
        assert self._open is not None
        name, member = self._open
        member.close()
        self._open = None
        self.files[name] = Member(self._size, self._digest.hexdigest())

    def add(self, name: str, data: bytes) -> None:
        self.begin(name)
        self.write(data)
        self.end()

    def finish(self, manifest: bytes) -> None:
        self.add(MANIFEST, manifest)
        self._zip.close()

    def abandon(self) -> None:
        """Let go of what was begun, once nobody takes any more of it."""
        if self._open is not None:
            self._open[1].close()
        self._zip.close()

    def take(self) -> bytes:
        """What was made since the last time."""
        made, self._sink.parts = b"".join(self._sink.parts), []
        return made


def checkpoint_lines(notes: Iterable[bytes]) -> bytes:
    return b"".join(orjson.dumps(each.decode(), option=orjson.OPT_APPEND_NEWLINE) for each in notes)


def subtree_lines(hashes: Iterable[bytes]) -> bytes:
    return "".join(f"{note.base64(each)}\n" for each in hashes).encode()


def proof_line(index: int, hashes: Sequence[bytes]) -> bytes:
    told = {"index": index, "hashes": [note.base64(each) for each in hashes]}
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)


def record_lines(bodies: Mapping[int, bytes], start: int, end: int) -> bytes:
    return b"".join(bodies.get(index, b"") + b"\n" for index in range(start, end))


# --- reading --------------------------------------------------------------------------------------------------


class Bundle:
    """The files of a bundle, opened by name; whatever else lies beside them is not looked at. `Unreadable`."""

    def __init__(self, path: Path) -> None:
        self._folder = path if path.is_dir() else None
        try:
            self._zip = None if self._folder else zipfile.ZipFile(path)
        except DAMAGED as error:
            raise Unreadable(f"{path} is no bundle: {error}") from error
        names = self._zip.namelist() if self._zip else [each.name for each in path.iterdir()]
        if len(set(names)) < len(names):
            raise Unreadable(f"{path} has two files of one name")
        self.names = frozenset(names)
        if MANIFEST not in self.names:
            raise Unreadable(f"{path} has no {MANIFEST}: it is no bundle, or was cut off")

    def _open(self, name: str) -> IO[bytes]:
        # Not whatever path the manifest names.
        if name not in self.names:
            raise KeyError(name)
        if self._zip:
            return self._zip.open(name)
        assert self._folder is not None
        return (self._folder / name).open("rb")

    def blocks(self, name: str) -> Iterator[bytes]:
        """The file, piece by piece."""
        try:
            with self._open(name) as file:
                while block := file.read(BLOCK):
                    yield block
        except DAMAGED as error:
            raise Unreadable(f"{name} is missing or cannot be read: {error}") from error

    def read(self, name: str) -> bytes:
        return _bounded(name, self.blocks(name), SMALL)

    def manifest(self) -> tuple[Manifest, bytes]:
        """With the note that it stands in, whose signature is not checked here."""
        given = self.read(MANIFEST)
        try:
            return Manifest.parse(note.parts(given)[0]), given
        except BadNote as error:
            raise Unreadable(f"{MANIFEST}: {error}") from error

    def close(self) -> None:
        if self._zip:
            self._zip.close()


class Files:
    """The files that the manifest names, each held to its size and hash there: `differs` is told of one that does not.

    `Unreadable` for what is not written as such a file is.
    """

    def __init__(self, given: Bundle, manifest: Manifest, differs: Callable[[str], None]) -> None:
        self._bundle = given
        self._manifest = manifest
        self._differs = differs
        self._hashed: set[str] = set()

    def blocks(self, name: str) -> Iterator[bytes]:
        member = self._manifest.files.get(name)
        if member is None:
            raise Unreadable(f"the manifest names no {name}")
        digest, size = sha256(), 0
        for block in self._bundle.blocks(name):
            digest.update(block)
            size += len(block)
            yield block
        if name not in self._hashed and (size, digest.hexdigest()) != (member.size, member.sha256):
            self._differs(name)
        self._hashed.add(name)

    def lines(self, name: str) -> Iterator[list[bytes]]:
        rest = b""
        for block in self.blocks(name):
            *lines, rest = (rest + block).split(b"\n")
            if len(rest) > 2 * LARGEST:
                raise Unreadable(f"{name} has a line that is too long")
            yield lines
        if rest:
            raise Unreadable(f"{name} does not end with a line feed")

    def whole(self, name: str) -> bytes:
        return _bounded(name, self.blocks(name), SMALL)

    def few_lines(self, name: str) -> list[bytes]:
        data = _bounded(name, self.blocks(name), MOST_BYTES)
        if data.count(b"\n") > MOST_LINES:
            raise Unreadable(f"{name} has more than {MOST_LINES} lines")
        *lines, rest = data.split(b"\n")
        if rest:
            raise Unreadable(f"{name} does not end with a line feed")
        return lines

    def leaves(self) -> Iterator[bytes]:
        """The leaf hashes that the bundle has beside the entries; what is left over is none."""
        rest = b""
        for block in self.blocks(LEAVES):
            data = rest + block
            whole = len(data) - len(data) % HASH
            yield from (data[at : at + HASH] for at in range(0, whole, HASH))
            rest = data[whole:]

    def proofs(self) -> Iterator[tuple[int, list[bytes]]]:
        """Of each record of a narrowed bundle, its index and hashes."""
        return (_proof(line) for lines in self.lines(PROOFS) for line in lines)

    def finish(self) -> None:
        """Hold those that nobody asked for to the manifest as well."""
        for name in self._manifest.files.keys() - self._hashed:
            for _ in self.blocks(name):
                pass


def _bounded(name: str, blocks: Iterable[bytes], limit: int) -> bytes:
    data = bytearray()
    for block in blocks:
        data += block
        if len(data) > limit:
            raise Unreadable(f"{name} has more than {limit} bytes")
    return bytes(data)


def _proof(line: bytes) -> tuple[int, list[bytes]]:
    try:
        told = orjson.loads(line)
        return _whole(told["index"]), [note.from_base64(each) for each in told["hashes"]]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"{PROOFS} has no proof for each record") from error
