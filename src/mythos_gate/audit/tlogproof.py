"""C2SP tlog-proof: that an entry is in the log, in one file that is checked offline."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from mythos_gate.audit import checkpoint, merkle, note
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.merkle import HASH
from mythos_gate.audit.note import LARGEST_NUMBER, BadNote, VerifierKey

HEADER = "c2sp.org/tlog-proof@v1"
EXTRA = "extra "
INDEX = "index "
MOST_HASHES = LARGEST_NUMBER.bit_length()  # so high is a tree of 2^63-1 leaves


class BadProof(ValueError):
    """It is not a proof in this format."""


@dataclass(frozen=True)
class Proof:
    """The place of an entry, the inclusion proof from its sibling upwards, and a signed checkpoint, not looked into.

    `extra` is whatever its writer adds; nothing vouches for it. BadProof for what the format has no place for.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index <= LARGEST_NUMBER:
            raise BadProof("an index is a number from 0 to 2^63-1")
        if len(self.hashes) > MOST_HASHES or any(len(value) != HASH for value in self.hashes):
            raise BadProof(f"a proof has at most {MOST_HASHES} hashes, each of {HASH} bytes")
        if not self.checkpoint:
            raise BadProof("a proof has a checkpoint")
        if self.extra == b"":
            raise BadProof("a proof without extra data has no line for it")

    @classmethod
    def parse(cls, given: bytes) -> Self:
        """From the file, which is written in one way only."""
        head, separator, signed = given.partition(b"\n\n")
        if not separator or not head.isascii():
            raise BadProof("a proof is lines, an empty line and a checkpoint")
        header, *lines = head.decode().split("\n")
        if header != HEADER:
            raise BadProof(f"a proof begins with {HEADER}")
        extra = lines.pop(0).removeprefix(EXTRA) if lines and lines[0].startswith(EXTRA) else None
        if not lines or not lines[0].startswith(INDEX):
            raise BadProof("a proof has an index")
        try:
            index = note.number(lines[0].removeprefix(INDEX))
            hashes = tuple(map(note.from_base64, lines[1:]))
            return cls(index, hashes, signed, None if extra is None else note.from_base64(extra))
        except BadNote as error:
            raise BadProof(str(error)) from error

    def format(self) -> bytes:
        extra = [] if self.extra is None else [EXTRA + note.base64(self.extra)]
        lines = [HEADER, *extra, f"{INDEX}{self.index}", *map(note.base64, self.hashes)]
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.checkpoint


def verify(
    proof: Proof,
    leaf_hash: bytes,
    key: VerifierKey | Iterable[VerifierKey],
    origin: str,
    witnesses: Iterable[VerifierKey] = (),
    quorum: int = 0,
) -> Checkpoint:
    """The checkpoint of this log, cosigned by so many of these witnesses at least, in whose tree the leaf is.

    BadNote if the checkpoint is not that, merkle.Unproven if the leaf is not in its tree. The leaf hash is to be
    computed from the entry: a proof does not say of what it is one.
    """
    keys, witnesses = [key] if isinstance(key, VerifierKey) else list(key), list(witnesses)
    found = checkpoint.opened(proof.checkpoint, keys, origin)
    if {each.public for each in keys} & {each.public for each in witnesses}:
        raise BadNote("a log is not a witness of itself")
    cosigned = checkpoint.cosigned(proof.checkpoint, witnesses)
    if len(cosigned) < quorum:
        raise BadNote(f"{len(cosigned)} witnesses cosigned the checkpoint, {quorum} are required")
    merkle.verify_inclusion(leaf_hash, proof.index, found.size, proof.hashes, found.root)
    return found
