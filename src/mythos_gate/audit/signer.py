"""The signer: signs a head of the log if it continues the last one that it signed, which it keeps in a file."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from mythos_gate.audit import checkpoint
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.merkle import EMPTY_ROOT, verify_consistency
from mythos_gate.audit.note import SignerKey
from mythos_gate.errors import Misconfigured


class Signer:
    """`keys` gives what signs now. The file lies outside the database, so that a log that was wound back is noticed."""

    def __init__(self, keys: Callable[[], Sequence[SignerKey]], origin: str, file: Path) -> None:
        self._keys = keys
        self._origin = origin
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)

    def last(self, published: bytes | None) -> Checkpoint:
        """The head that was signed last. On a new machine that is the published one, on a new log the empty tree.

        `BadNote` if what is published instead has no signature of ours.
        """
        if self._file.exists():
            return checkpoint.unverified(self._file.read_bytes())
        if published is None:
            return Checkpoint(self._origin, 0, EMPTY_ROOT)
        return checkpoint.opened(published, [key.verifier for key in self._keys()], self._origin)

    def sign(self, head: Checkpoint, last: Checkpoint, path: Sequence[bytes]) -> bytes:
        """The head as a signed note, with a consistency proof from the last. `Unproven`: it is not signed."""
        verify_consistency(last.size, last.root, head.size, head.root, path)
        keys = self._keys()
        if not keys:
            raise Misconfigured("no key signs the log: run `mythos-gate db upgrade`")
        note = checkpoint.signed(head, keys)
        self._keep(note)
        return note

    def _keep(self, note: bytes) -> None:
        """Before it leaves: a head that was given out and forgotten could be contradicted."""
        new = self._file.with_suffix(".new")
        with new.open("wb") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        new.rename(self._file)
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
