"""The signer: of those that share its file, one signs, and only what continues what was signed last."""

import fcntl
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mythos_gate.audit import checkpoint
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.merkle import Frontier
from mythos_gate.audit.note import SignerKey
from mythos_gate.audit.signer import Signer
from mythos_gate.errors import Conflict

ORIGIN = "test.example/log"
KEY = SignerKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"k" * 32))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "signed-head"


def signer(file):
    return Signer(lambda: [KEY], ORIGIN, file)


def head(*leaves):
    made = Frontier()
    made.append([leaf.encode().ljust(32) for leaf in leaves])
    return Checkpoint(ORIGIN, made.size, made.root())


def test_of_two_heads_that_continue_the_same_one_the_first_is_signed(file):
    one, other = signer(file), signer(file)
    last = one.last(None)
    assert last == other.last(None)
    note = one.sign(head("a", "b"), last, [])
    for forked in (head("a", "c"), head("c")):
        with pytest.raises(Conflict, match="another process has signed"):
            other.sign(forked, last, [])
    assert note == file.read_bytes()
    # And whoever asks anew goes on from there.
    assert other.last(None) == head("a", "b")
    assert checkpoint.opened(other.sign(head("a", "b"), other.last(None), []), KEY.verifier, ORIGIN) == head("a", "b")


def test_a_head_is_on_the_disk_before_it_is_given_out(file, monkeypatch):
    """Forgotten after it was given out, it could be contradicted: the bytes first, then the name, then the folder."""
    done = []
    sync, rename = os.fsync, Path.rename

    def synced(number):
        done.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        sync(number)

    def renamed(path, to):
        done.append("name")
        return rename(path, to)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    one = signer(file)
    one.sign(head("a"), one.last(None), [])
    assert done == ["file", "name", "folder"]


def test_of_many_at_once_one_signs(file):
    for number in range(20):
        each_file, barrier = file.with_name(f"head-{number}"), Barrier(8)

        def sign(name, at=each_file, barrier=barrier):
            mine = signer(at)
            last = mine.last(None)
            barrier.wait()
            try:
                return mine.sign(head(name), last, [])
            except Conflict:
                return None

        with ThreadPoolExecutor(8) as threads:
            signed = [note for note in threads.map(sign, "abcdefgh") if note is not None]
        assert signed == [each_file.read_bytes()]


def test_nobody_waits_for_one_that_was_halted_while_it_signed(file):
    made = signer(file)
    with file.with_suffix(".lock").open("a") as halted:
        fcntl.flock(halted, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="is signing"):
            made.sign(head("a"), made.last(None), [])
    assert not file.exists()
    made.sign(head("a"), made.last(None), [])
