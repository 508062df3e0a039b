"""C2SP signed-note: a text, and who signed it. A checkpoint is one, and so is a receipt."""

import binascii
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

DASH = "\N{EM DASH} "
# The specification asks for 16 signatures at least; these two limits are those of golang.org/x/mod/sumdb/note.
MOST_SIGNATURES = 100
LARGEST = 1_000_000
PUBLIC = SEED = 32  # bytes of an Ed25519 key
SIGNATURE = 64
TIME = 8
# C2SP tlog-cosignature: a time does not exceed 2^63-1, and whatever else is a number here keeps to that.
LARGEST_NUMBER = 2**63 - 1
NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")
SECRET = "PRIVATE+KEY+"  # noqa: S105  what such a text begins with


class BadNote(ValueError):
    """It is not a note of its kind, or not signed by whom it should be."""


class Kind(IntEnum):
    """The signature types of C2SP signed-note that are known here; keys of others are unknown keys."""

    ED25519 = 0x01
    COSIGNATURE = 0x04  # C2SP tlog-cosignature, with Ed25519


@dataclass(frozen=True)
class VerifierKey:
    """Who may have signed: a name and a public key. BadNote if one of them cannot be."""

    name: str
    public: bytes
    kind: Kind = Kind.ED25519

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.public) != PUBLIC:
            raise BadNote(f"an Ed25519 key has {PUBLIC} bytes")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `name+id+base64(type || public key)`, the id in hexadecimal digits."""
        name, identifier, key = _key_parts(text)
        if key[0] not in set(Kind):
            raise BadNote(f"a key of type {key[0]} is not supported")
        made = cls(name, key[1:], Kind(key[0]))
        if made.key_id.hex() != identifier:
            raise BadNote("the key and its id disagree")
        return made

    @property
    def text(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64(bytes([self.kind]) + self.public)}"

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart; no proof of anything."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def verify(self, text: bytes, signature: bytes) -> int | None:
        """The time of a cosignature, in seconds since 1970; None of others. BadNote if it does not hold."""
        at = None
        if self.kind is Kind.COSIGNATURE:
            at, signature = timestamped(signature)
            text = cosignature_message(text, at)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError) as error:
            raise BadNote(f"the signature of {self.name} does not hold") from error
        return at


@dataclass(frozen=True)
class SignerKey:
    """Who signs, with signatures of type Ed25519."""

    name: str
    private: Ed25519PrivateKey

    def __post_init__(self) -> None:
        _check_name(self.name)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `PRIVATE+KEY+name+id+base64(type || seed)`, as golang.org/x/mod/sumdb/note writes it."""
        if not text.startswith(SECRET):
            raise BadNote(f"a signer's key begins with {SECRET}")
        name, identifier, key = _key_parts(text.removeprefix(SECRET))
        if key[0] != Kind.ED25519 or len(key) != 1 + SEED:
            raise BadNote("this is not the private key of an Ed25519 signer")
        made = cls(name, Ed25519PrivateKey.from_private_bytes(key[1:]))
        if made.verifier.key_id.hex() != identifier:
            raise BadNote("the key and its id disagree")
        return made

    def secret(self) -> str:
        """What `parse` reads."""
        seed = base64(bytes([Kind.ED25519]) + self.private.private_bytes_raw())
        return f"{SECRET}{self.name}+{self.verifier.key_id.hex()}+{seed}"

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey(self.name, self.private.public_key().public_bytes_raw())

    def line(self, text: str) -> str:
        """The signature line for a note's text, without its line feed."""
        return signature_line(self.verifier, self.private.sign(_utf8(text)))


def signature_line(key: VerifierKey, signature: bytes) -> str:
    return f"{DASH}{key.name} {base64(key.key_id + signature)}"


@dataclass(frozen=True)
class Note:
    """What a note says and who vouches for it: by each known key once, and names that nobody was asked to trust."""

    text: str
    verified: list[tuple[VerifierKey, int | None]]
    unverified: list[str]


def sign(text: str, signers: Sequence[SignerKey]) -> bytes:
    """The note. BadNote if the text cannot be that of one."""
    return joined(text, [signer.line(text) for signer in signers])


def joined(text: str, lines: Iterable[str]) -> bytes:
    """A note of a text and signature lines; of equal lines the first. BadNote if that makes none."""
    note = _utf8("\n".join([text, *dict.fromkeys(lines), ""]))
    if parts(note)[0] != text:
        raise BadNote("the text of a note ends with a line feed")
    return note


def open(note: bytes, verifiers: Iterable[VerifierKey]) -> Note:  # noqa: A001  its name in sumdb/note
    """The text with its signatures by these keys, of which one at least must have signed. BadNote otherwise.

    Lines of other keys are ignored, whatever they say. A line of a known key that does not hold spoils the note.
    """
    opened = read(note, verifiers)
    if not opened.verified:
        raise BadNote("the note is not signed by a known key")
    return opened


def read(note: bytes, verifiers: Iterable[VerifierKey]) -> Note:
    """The same where it may be that none of these keys signed. Its text is then nobody's."""
    known = _known(verifiers)
    text, lines = parts(note)
    verified: dict[VerifierKey, int | None] = {}
    unverified = []
    for name, identifier, signature in dict.fromkeys(map(_signature, lines)):
        key = known.get((name, identifier))
        if key is None:
            unverified.append(name)
            continue
        at = key.verify(text.encode(), signature)
        verified.setdefault(key, at)
    return Note(text, list(verified.items()), unverified)


def _known(verifiers: Iterable[VerifierKey]) -> dict[tuple[str, bytes], VerifierKey]:
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in verifiers:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise BadNote(f"two keys have the name {key.name} and the same id")
    return known


def parts(note: bytes) -> tuple[str, list[str]]:
    """The text and the signature lines, not looked into further. BadNote."""
    if len(note) > LARGEST:
        raise BadNote(f"a note has at most {LARGEST} bytes")
    try:
        whole = note.decode()
    except UnicodeDecodeError as error:
        raise BadNote("a note is UTF-8") from error
    if CONTROL.search(whole):
        raise BadNote("a note has no control characters")
    # The text may have empty lines; what follows the last one are the signatures.
    text, separator, signatures = whole.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise BadNote("a note is a text, an empty line and signatures, each with a line feed")
    # Not splitlines: it also divides at what is no line feed.
    lines = signatures[:-1].split("\n")
    if len(lines) > MOST_SIGNATURES:
        raise BadNote(f"a note has at most {MOST_SIGNATURES} signatures")
    for line in lines:
        _signature(line)
    return f"{text}\n", lines


def _signature(line: str) -> tuple[str, bytes, bytes]:
    """The name, the key's id and the signature."""
    name, separator, armoured = line.removeprefix(DASH).partition(" ")
    if not line.startswith(DASH) or not separator:
        raise BadNote("a signature is a dash, a name and base64, with a space between")
    _check_name(name)
    value = from_base64(armoured)
    if len(value) <= 4:
        raise BadNote("a signature has more than the four bytes of its key's id")
    return name, value[:4], value[4:]


def timestamped(signature: bytes) -> tuple[int, bytes]:
    """C2SP tlog-cosignature: the time, in seconds since 1970, and the signature proper. BadNote."""
    if len(signature) != TIME + SIGNATURE:
        raise BadNote(f"a cosignature has {TIME + SIGNATURE} bytes")
    at = int.from_bytes(signature[:TIME])
    if at > LARGEST_NUMBER:
        raise BadNote("a cosignature's time is beyond what one may have")
    return at, signature[TIME:]


def cosignature_message(text: bytes, at: int) -> bytes:
    """C2SP tlog-cosignature: what a witness signs; its first line keeps it from being a checkpoint."""
    return b"cosignature/v1\ntime %d\n" % at + text


def number(text: str) -> int:
    """A whole number as the C2SP formats write it: ASCII digits, no leading zero; at most 2^63-1. BadNote."""
    if not NUMBER.fullmatch(text) or int(text) > LARGEST_NUMBER:
        raise BadNote("this is not a decimal number up to 2^63-1")
    return int(text)


def base64(value: bytes) -> str:
    """RFC 4648 section 4."""
    return b64encode(value).decode()


def from_base64(text: str) -> bytes:
    """The bytes, if this is the one way to write them: other last bits or padding would be other notes. BadNote."""
    try:
        value = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise BadNote("this is not base64") from error
    if base64(value) != text:
        raise BadNote("this is not how base64 is written")
    return value


def _key_parts(text: str) -> tuple[str, str, bytes]:
    """The name, the id and the type with the key, which may have plus signs."""
    name, _, rest = text.partition("+")
    identifier, _, armoured = rest.partition("+")
    if not armoured:
        raise BadNote("a key is a name, its id and base64, with plus signs between")
    return name, identifier, from_base64(armoured)


def _check_name(name: str) -> None:
    if not name or "+" in name or any(map(str.isspace, name)) or CONTROL.search(name):
        raise BadNote("the name of a key has no spaces, no plus sign and no control character, and is not empty")
    _utf8(name)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadNote("a note is UTF-8") from error
