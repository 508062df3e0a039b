"""What an auditor brings to a bundle, and what they are told of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mythos_gate.audit.bundle import Manifest
from mythos_gate.audit.chains import Finding
from mythos_gate.audit.note import BadNote, Kind, VerifierKey


@dataclass(frozen=True)
class Trust:
    """Whom the auditor trusts, from elsewhere than the bundle. BadNote if that is not the keys of one log."""

    keys: Sequence[VerifierKey]
    receipt_keys: Sequence[VerifierKey] = ()
    witnesses: Sequence[VerifierKey] = ()
    quorum: int = 0

    def __post_init__(self) -> None:
        if len({key.name for key in self.keys}) != 1 or any(key.kind is not Kind.ED25519 for key in self.keys):
            raise BadNote("the keys are not those of one log")
        if {key.public for key in self.keys} & {key.public for key in self.witnesses}:
            raise BadNote("a log is not a witness of itself")

    @property
    def origin(self) -> str:
        return self.keys[0].name


@dataclass(frozen=True)
class Held:
    """What the auditor has kept of the log, or others have, to compare the bundle with."""

    checkpoint: bytes | None = None
    consistency: Mapping[str, Any] | None = None  # as /v1/log/consistency answers
    receipts: Sequence[bytes] = ()
    high_water: Sequence[Mapping[str, Any]] = ()  # `{writer, n, leaf}`, and `at`: by then, in microseconds since 1970


@dataclass
class Report:
    """What was checked and found; `denied` is what was asked for and could not be checked."""

    manifest: Manifest
    checked: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    more: dict[str, int] = field(default_factory=dict)  # how many findings of a kind there are, if not all are told
    leaves: int = 0

    @property
    def first(self) -> Finding | None:
        """The finding of the lowest leaf; of those at one leaf the one that names it exactly."""
        placed = [(each.place, each.end or 0, each) for each in self.findings if each.place is not None]
        return min(placed, key=lambda each: each[:2])[2] if placed else None

    @property
    def extent(self) -> str:
        """What was verified if nothing was found: a reader of the last line must not take a part for the whole."""
        manifest = self.manifest
        if not manifest.is_complete:
            return f"{self.leaves} records that were picked out, not that none is left out"
        return f"leaves {manifest.start} to {manifest.end - 1} of the {manifest.size} entries of {manifest.origin}"

    @property
    def exit_code(self) -> int:
        return 1 if self.findings else 2 if self.denied else 0
