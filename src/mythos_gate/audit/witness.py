"""A witness (C2SP tlog-witness): cosigns a head that continues the last one it saw, so nobody is shown another log."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from mythos_gate.audit import exchange, note
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.exchange import Answer
from mythos_gate.audit.note import DASH, BadNote, Kind, VerifierKey
from mythos_gate.errors import Misconfigured

OK, CONFLICT = 200, 409
SIZE = "text/x.tlog.size"
# Seconds. A cosignature of tomorrow would let the witness sleep until then, and make what follows look back-dated; one
# of yesterday would have it see what was not written yet.
APART = 60
WHY = {
    400: "it cannot read the request",
    403: "it does not know the log's key",
    404: "it does not know the log",
    CONFLICT: "it has seen another head of this size",
    422: "it finds that the head does not continue the one that it has seen",
}


class Refused(Exception):
    """The witness did not cosign, or not this head: why, without the witness's name."""


@dataclass(frozen=True)
class Witness:
    """Who cosigns, and the submission prefix to ask at. ValueError if they cannot be."""

    key: VerifierKey
    url: str

    def __post_init__(self) -> None:
        if self.key.kind is not Kind.COSIGNATURE:
            raise ValueError(
                f"the key of a witness is of type {Kind.COSIGNATURE.value}, this one of {self.key.kind.value}"
            )
        _check_url(self.url)

    @classmethod
    def parse(cls, line: str) -> "Witness":
        """From `<verifier key> <URL>`."""
        key, *rest = line.split()
        if len(rest) != 1:
            raise ValueError("a line is a verifier key and a URL")
        return cls(VerifierKey.parse(key), rest[0])

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def mark(self) -> bytes:
        """How its lines in a note begin: enough to find one, no proof of it."""
        # Of base64's six digits for four bytes, the sixth depends on what follows.
        return f"\n{DASH}{self.name} {note.base64(self.key.key_id)[:5]}".encode()


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if not parts.hostname or "?" in url or "#" in url or "@" in parts.netloc or parts.port == 0:
        raise ValueError("a witness's URL is like https://witness.example/prefix, without user, ? and #")
    if not exchange.is_safe(url):
        raise ValueError("a witness's URL is https, but for one on this machine")


def read(path: Path) -> tuple[Witness, ...]:
    """Those of a file: a line each; empty lines and those that begin with # do not count. `Misconfigured`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise Misconfigured(f"the file of the witnesses cannot be read: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                found.append(Witness.parse(line))
            except ValueError as error:
                raise Misconfigured(f"{path}, line {number}: {error}") from error
    # A cosignature does not say whose it is: one key under two names would be two witnesses.
    for each in ({witness.name for witness in found}, {witness.key.public for witness in found}):
        if len(each) < len(found):
            raise Misconfigured(f"{path}: two witnesses have the same name or the same key")
    if not found:
        raise Misconfigured(f"{path} names no witness")
    return tuple(found)


async def cosign(
    client: httpx.AsyncClient,
    witness: Witness,
    signed: bytes,
    old: int,
    proof: Callable[[int], Awaitable[Sequence[bytes]]],
) -> str:
    """The witness's signature line for this note, which holds. `Refused`, `exchange.Unanswered`.

    `old` is the size that the witness has, as far as is known; `proof` gives the consistency proof from one. If the
    witness says that it has another, it is asked once more from there.
    """
    size = Checkpoint.parse(note.parts(signed)[0]).size
    url = f"{witness.url.rstrip('/')}/add-checkpoint"
    answer = await exchange.post(client, url, request(old, await proof(old), signed), "text/plain; charset=utf-8")
    had = _had(answer)
    if had is not None and had > size:
        raise Refused(f"it has seen a log of {had} entries, and this one has {size}")
    if had is not None and had != old:
        answer = await exchange.post(client, url, request(had, await proof(had), signed), "text/plain; charset=utf-8")
    if answer.status != OK:
        raise Refused(WHY.get(answer.status, f"it answers with status {answer.status}"))
    return cosignature(witness.key, signed, answer.body, int(time.time()))


def request(old: int, proof: Sequence[bytes], signed: bytes) -> bytes:
    """What add-checkpoint is sent."""
    lines = [f"old {old}", *map(note.base64, proof), ""]
    return "".join(f"{line}\n" for line in lines).encode() + signed


def _had(answer: Answer) -> int | None:
    """The size that the witness says it has, if it says so."""
    if answer.status != CONFLICT or answer.kind != SIZE or not answer.body.endswith(b"\n"):
        return None
    try:
        return note.number(answer.body[:-1].decode("ascii"))
    except ValueError:
        return None


def cosignature(key: VerifierKey, signed: bytes, answer: bytes, now: int) -> str:
    """The first line of the answer that is of this key, for the note's text. `Refused` unless it holds.

    Lines of other keys are ignored. `now`: in seconds since 1970.
    """
    try:
        text, _ = note.parts(signed)
        _, lines = note.parts(text.encode() + b"\n" + answer)
        for line in lines:
            for _, at in note.read(note.joined(text, [line]), [key]).verified:
                if at is not None and abs(at - now) > APART:
                    raise Refused(f"its clock says {at - now:+} seconds")
                return line
    except BadNote as error:
        raise Refused(f"what it answered is no cosignature of this head: {error}") from error
    raise Refused("its answer has no line of its key")
