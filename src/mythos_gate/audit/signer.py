"""The signer: signs a head of the log if it continues the last one that it signed, which it keeps in a file."""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mythos_gate.audit import checkpoint
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.merkle import EMPTY_ROOT, verify_consistency
from mythos_gate.audit.note import SignerKey
from mythos_gate.errors import Conflict, Misconfigured


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
        """The head as a signed note, with a consistency proof from the last.

        It is not signed if that is `Unproven`, or there is a `Conflict`: another process signs, or has signed since.
        """
        verify_consistency(last.size, last.root, head.size, head.root, path)
        keys = self._keys()
        if not keys:
            raise Misconfigured("no key signs the log: run `mythos-gate db upgrade`")
        with self._alone():
            # Of two heads that both continue `last`, neither need continue the other.
            if self._file.exists() and not _same(checkpoint.unverified(self._file.read_bytes()), last):
                raise Conflict("another process has signed a head since: this one may not continue it")
            note = checkpoint.signed(head, keys)
            self._keep(note)
        return note

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Of all who have this file. Nobody waits: whoever is signing may have been halted."""
        with self._file.with_suffix(".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict("another process is signing a head") from error
            yield

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


def _same(one: Checkpoint, other: Checkpoint) -> bool:
    return (one.size, one.root) == (other.size, other.root)
