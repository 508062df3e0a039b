"""A bundle: entries of the log and what proves them, in one ZIP or in the folder that it was extracted to.

Nothing in it is trusted for being there: the checkpoint is held to a key that the verifier has from elsewhere, and the
entries to the checkpoint. The manifest only tells what was exported, and finds a file that was damaged on the way.
"""

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Self, cast

import orjson

from mythos_gate.audit import note
from mythos_gate.audit.note import BadNote, SignerKey, VerifierKey

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
            files = {each: Member(int(of["size"]), str(of["sha256"])) for each, of in told["files"].items()}
            start, end, size = (_whole(told[each]) for each in ("from", "to", "size"))
            made = cls(
                origin=str(told["log"]), export=str(told["export"]), at=str(told["at"]), by=str(told["by"]),
                start=start, end=end, size=size, records=_whole(told["records"]), filters=dict(told["filters"]),
                not_kept=_whole(told["not_kept"]), files=files, keys=list(told["keys"]),
            )  # fmt: skip
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unreadable(f"{MANIFEST} is not that of a bundle: {error!r}") from error
        if told.get("v") != VERSION or name != made.origin + SUFFIX or not start <= end <= size:
            raise Unreadable(f"{MANIFEST} is not that of a bundle of version {VERSION}")
        return made


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no whole number")
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
        except (OSError, zipfile.BadZipFile) as error:
            raise Unreadable(f"{path} is no bundle: {error}") from error
        names = self._zip.namelist() if self._zip else [each.name for each in path.iterdir()]
        if len(set(names)) < len(names):
            raise Unreadable(f"{path} has two files of one name")
        self.names = frozenset(names)
        if MANIFEST not in self.names:
            raise Unreadable(f"{path} has no {MANIFEST}: it is no bundle, or was cut off")

    def open(self, name: str) -> IO[bytes]:
        try:
            if self._zip:
                return self._zip.open(name)
            assert self._folder is not None
            return (self._folder / name).open("rb")
        except (OSError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
            raise Unreadable(f"{name} is missing or cannot be read") from error

    def read(self, name: str, limit: int = SMALL) -> bytes:
        with self.open(name) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise Unreadable(f"{name} has more than {limit} bytes")
        return data

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
