"""A receipt: the log's promise that an entry will be in its tree, for whoever does not wait for the next checkpoint.

It is a note (C2SP signed-note) of four lines. Its key is not the one of checkpoints, and has the name
`<origin>/receipt`; and neither text can be the other: the second line is an entry's id here, a decimal number there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from mythos_gate.audit import note
from mythos_gate.audit.entry import timestamp
from mythos_gate.audit.merkle import HASH
from mythos_gate.audit.note import CONTROL, BadNote, Kind, SignerKey, VerifierKey

SUFFIX = "/receipt"


@dataclass(frozen=True)
class Receipt:
    """Which entry, by its id and its leaf hash, the log of this origin had when. BadNote if that cannot be."""

    origin: str
    entry: str  # a UUID
    leaf: bytes
    at: datetime

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin or CONTROL.search(self.origin):
            raise BadNote("an origin is not empty and has no control characters")
        if not _is_uuid(self.entry):
            raise BadNote("the id of an entry is a UUID")
        if len(self.leaf) != HASH:
            raise BadNote(f"a leaf hash has {HASH} bytes")
        if self.at.tzinfo is None:
            raise BadNote("the time of a receipt is in UTC")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From the text of a note."""
        lines = text.split("\n")
        if len(lines) != 5 or lines[-1] or not lines[0].endswith(SUFFIX):
            raise BadNote("a receipt has four lines, of which the first is an origin with its suffix")
        name, entry, leaf, at, _ = lines
        return cls(name.removesuffix(SUFFIX), entry, note.from_base64(leaf), _time(at))

    def format(self) -> str:
        lines = (self.origin + SUFFIX, self.entry, note.base64(self.leaf), timestamp(self.at))
        return "".join(f"{line}\n" for line in lines)


def signed(receipt: Receipt, signer: SignerKey) -> bytes:
    """The note, signed by the log's key under the name for receipts."""
    return note.sign(receipt.format(), [SignerKey(receipt.origin + SUFFIX, signer.private)])


def opened(given: bytes, keys: VerifierKey | Iterable[VerifierKey], origin: str) -> Receipt:
    """The receipt that one of the log's keys signed. BadNote if none did, or it is of another log."""
    known = [keys] if isinstance(keys, VerifierKey) else keys
    named = {VerifierKey(origin + SUFFIX, key.public) for key in known if key.kind is Kind.ED25519}
    found = Receipt.parse(note.open(given, named).text)
    if found.origin != origin:
        raise BadNote("the receipt is of another log")
    return found


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _time(text: str) -> datetime:
    """RFC 3339, in the one way in which an entry has it."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or timestamp(at) != text:
        raise BadNote("a time is YYYY-MM-DDTHH:MM:SS.ffffffZ")
    return at
