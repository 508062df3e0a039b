"""Logs and bundles that no service made, so that each can be wrong in one place."""

import secrets
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mythos_gate.audit import bundle, checkpoint, entry, merkle
from mythos_gate.audit.bundle import Archive, Manifest
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.entry import leaf_hash, timestamp, uuid7
from mythos_gate.audit.merkle import Frontier
from mythos_gate.audit.note import SignerKey
from mythos_gate.audit.report import Trust

ORIGIN = "test.example/log"
KEY = SignerKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"k" * 32))
RECEIPTS = SignerKey(f"{ORIGIN}/receipt", Ed25519PrivateKey.from_private_bytes(b"r" * 32))
TRUST = Trust([KEY.verifier], [RECEIPTS.verifier])
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE, TWO = "pdp-1111111111111111", "pdp-2222222222222222"
POLICY = "ab" * 32
FACTS = {
    "caller": {"id": "cal_1", "key": "k1"}, "subject": {"type": "person", "id": "per_1", "person": "per_1"},
    "organization": "org_1", "action": {"name": "invoke", "capability": "vuln-discovery", "purpose": {"digest": "00"}},
    "resource": {"type": "model", "id": "mythos-5", "version": "5.1.0", "endpoint": None}, "context": "00",
    "request": None, "facts": {"subject": "person"}, "outcome": "deny", "rows": ["a", "b"], "reasons": ["R", "S"],
    "cause": [], "bypassed": [], "data_set": "cd" * 32,
}  # fmt: skip


class Log:
    """Entries as the service would write them, one a second, unless a test says otherwise."""

    def __init__(self):
        self.bodies = []
        self.writers = {}
        self.at = NOON

    def add(self, kind, writer, **members):
        n, prev = self.writers.get(writer, (0, None))
        self.at += timedelta(seconds=1)
        members = {
            "v": 1, "log": ORIGIN, "type": kind, "id": uuid7(self.at, secrets.token_bytes(10)), "at": timestamp(self.at),
            "writer": writer, "n": n + 1, "prev": prev and prev.hex(), "salt": secrets.token_hex(16), **members,
        }  # fmt: skip
        self.put(entry.canonical(members))
        self.writers[writer] = members["n"], leaf_hash(self.bodies[-1])
        return members

    def put(self, body):
        self.bodies.append(body)

    def decide(self, writer=ONE, sha256=POLICY, **members):
        return self.add("decision", writer, **({"policy": {"revision": 1, "sha256": sha256}} | FACTS | members))

    def open(self, writer, confirmed=None, unknown=()):
        known = confirmed and {
            "writer": confirmed,
            "n": self.writers[confirmed][0],
            "leaf": self.writers[confirmed][1].hex(),
        }
        return self.add("session_opened", writer, confirmed=known, unknown=list(unknown))

    def leaf(self, place):
        return leaf_hash(self.bodies[place])

    def root(self, size):
        return self.frontier(size).root()

    def frontier(self, size):
        made = Frontier()
        made.append([leaf_hash(body) for body in self.bodies[:size]])
        return made

    def signed(self, size, key=KEY):
        return checkpoint.signed(Checkpoint(key.name, size, self.root(size)), [key])


def usual(count=20):
    """A policy, two sessions one after the other, and decisions."""
    log = Log()
    log.add("policy_activated", "registry", actor="a", before=None, after=1, sha256=POLICY)
    log.open(ONE)
    for _ in range(count // 2):
        log.decide(ONE)
    log.open(TWO, ONE)
    for _ in range(count // 2):
        log.decide(TWO)
        log.add("person_suspended", "registry", actor="a", person="per_1", before="active", after="suspended")
    return log


def files_of(log, start=0, end=None, size=None, heads=()):
    """The files of a bundle, by name; the manifest is made by `written`."""
    size = size or len(log.bodies)
    end = size if end is None else end
    left, right = merkle.range_nodes(start, end, size)

    def value(node):
        made = Frontier()
        made.append([log.leaf(at) for at in range(node.index << node.level, node.index + 1 << node.level)])
        return made.root()

    return {
        bundle.CHECKPOINT: log.signed(size),
        bundle.CHECKPOINTS: bundle.checkpoint_lines([log.signed(each) for each in [*heads, size]]),
        bundle.SUBTREES: bundle.subtree_lines(map(value, [*left, *right])),
        bundle.LEAVES: b"".join(log.leaf(at) for at in range(start, end)),
        bundle.RECORDS: b"".join(body + b"\n" for body in log.bodies[start:end]),
    }


def written(path, files, log, start=0, end=None, size=None, signer=RECEIPTS, **told):
    """The ZIP."""
    size = size or len(log.bodies)
    end = size if end is None else end
    archive = Archive(NOON)
    for name, data in files.items():
        archive.add(name, data)
    known = {"records": end - start, "filters": {}, "not_kept": 0} | told
    at = timestamp(log.at + timedelta(hours=1))
    manifest = Manifest(ORIGIN, "1", at, "cal_1", start, end, size, files=dict(archive.files), **known)
    archive.finish(bundle.signed(manifest, signer))
    path.write_bytes(archive.take())
    return path
