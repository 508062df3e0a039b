"""C2SP tlog-checkpoint: the size and the root of the tree, signed by the log and cosigned by witnesses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mythos_gate.audit import note
from mythos_gate.audit.merkle import HASH
from mythos_gate.audit.note import CONTROL, LARGEST_NUMBER, BadNote, Kind, SignerKey, VerifierKey


@dataclass(frozen=True)
class Checkpoint:
    """The first three lines, and any further ones, which nobody audits. BadNote if they cannot be."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            if not line or "\n" in line or CONTROL.search(line):
                raise BadNote("a line of a checkpoint is not empty and has no control characters")
        if not 0 <= self.size <= LARGEST_NUMBER:
            raise BadNote("a checkpoint has a size from 0 to 2^63-1")
        if len(self.root) != HASH:
            raise BadNote(f"the root of a checkpoint has {HASH} bytes")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From the text of a note."""
        *lines, end = text.split("\n")
        if end or len(lines) < 3:
            raise BadNote("a checkpoint has three lines at least, each with a line feed")
        origin, size, root, *extensions = lines
        return cls(origin, note.number(size), note.from_base64(root), tuple(extensions))

    def format(self) -> str:
        return "".join(f"{line}\n" for line in (self.origin, self.size, note.base64(self.root), *self.extensions))


def unverified(given: bytes) -> Checkpoint:
    """What a note of our own keeping says, whoever signed it."""
    return Checkpoint.parse(given.partition(b"\n\n")[0].decode() + "\n")


def signed(checkpoint: Checkpoint, signers: Sequence[SignerKey]) -> bytes:
    return note.sign(checkpoint.format(), signers)


def opened(given: bytes, keys: VerifierKey | Iterable[VerifierKey], origin: str) -> Checkpoint:
    """The checkpoint that one of the log's keys signed. BadNote if none did, or it is of another log.

    Several keys are those of one log, in a time when it changes them.
    """
    return signed_by(given, keys, origin)[0]


def signed_by(
    given: bytes, keys: VerifierKey | Iterable[VerifierKey], origin: str
) -> tuple[Checkpoint, list[VerifierKey]]:
    """The same, with all of these keys that did."""
    read = note.open(given, _of_kind(keys, Kind.ED25519))
    found = Checkpoint.parse(read.text)
    if found.origin != origin:
        raise BadNote("the checkpoint is of another log")
    return found, [key for key, _ in read.verified]


def cosign(given: bytes, name: str, private: Ed25519PrivateKey, at: int) -> str:
    """C2SP tlog-cosignature: the line of a witness, at a time in seconds since 1970, for a note that it has checked."""
    key = VerifierKey(name, private.public_key().public_bytes_raw(), Kind.COSIGNATURE)
    text, _ = note.parts(given)
    signature = private.sign(note.cosignature_message(text.encode(), at))
    return note.signature_line(key, at.to_bytes(note.TIME) + signature)


def cosigned(given: bytes, witnesses: Iterable[VerifierKey]) -> dict[str, int]:
    """Which of these witnesses cosigned, and when (seconds since 1970; the last, if a witness has several keys).

    BadNote if a line of one of them does not hold. That the log signed is for `opened` to say.
    """
    known = _of_kind(witnesses, Kind.COSIGNATURE)
    # A cosignature does not say whose it is: one key under two names would be two witnesses.
    if len({key.public for key in known}) < len(known):
        raise BadNote("two witnesses have the same key")
    times: dict[str, int] = {}
    for key, at in note.read(given, known).verified:
        times[key.name] = max(at or 0, times.get(key.name, 0))
    return times


def with_signatures(given: bytes, lines: Iterable[str]) -> bytes:
    """The note with further signature lines, as a witness returned them; those that it has already stay as they are."""
    text, present = note.parts(given)
    return note.joined(text, [*present, *lines])


def _of_kind(keys: VerifierKey | Iterable[VerifierKey], kind: Kind) -> set[VerifierKey]:
    known = {keys} if isinstance(keys, VerifierKey) else set(keys)
    for key in known:
        if key.kind is not kind:
            raise BadNote(f"the key of {key.name} is not for signatures of type {kind.value}")
    return known
