"""The administrator, who can do anything to the database, against an auditor who kept an older checkpoint.

What is changed is found by verifying an export: at which leaf, or, where the tree was rewritten as well, between which
signed heads. The last part shows what it takes to see that entries were removed before they were sequenced.
"""

import json
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mythos_gate import db, sequencing
from mythos_gate.audit import checkpoint, entry, merkle, note, receipt
from mythos_gate.audit.bundle import Bundle
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.entry import EPOCH, leaf_hash, timestamp
from mythos_gate.audit.note import Kind, VerifierKey
from mythos_gate.audit.receipt import Receipt
from mythos_gate.audit.report import Held, Trust
from mythos_gate.audit.verify import verify
from mythos_gate.terms import Role
from tests.audit.test_sequencer import unguarded
from tests.service import ENTRY, Service, question

pytestmark = pytest.mark.anyio
WITNESS = Ed25519PrivateKey.from_private_bytes(b"w" * 32)


class Administrator:
    """Changes entries, and whatever else they care to change with them."""

    def __init__(self, service):
        self.service = service

    def do(self, statement, *values):
        unguarded(self.service, statement, *values)

    def entries(self):
        """(id, at, body) by leaf."""
        return self.service.sql(
            "SELECT e.id, e.at, e.body FROM log_leaves l JOIN log_entries e ON e.id = l.id AND e.at = l.at ORDER BY l.index"
        )

    def members(self, place):
        return json.loads(self.entries()[place][2])

    def write(self, place, members):
        """Other bytes for an entry, with their own leaf hash."""
        body = entry.canonical(members)
        identifier = self.entries()[place][0]
        at = datetime.fromisoformat(members["at"])
        self.do(
            "UPDATE log_entries SET body = %s, leaf = %s, at = %s WHERE id = %s", body, leaf_hash(body), at, identifier
        )
        self.do("UPDATE log_leaves SET at = %s WHERE index = %s", at, place)

    def alter(self, place, **members):
        self.write(place, self.members(place) | members)

    def remove(self, place):
        """With no gap left in the tree."""
        self.do("DELETE FROM log_entries WHERE id = %s", self.entries()[place][0])
        self.do("DELETE FROM log_leaves WHERE index = %s", place)
        self.shift(place + 1, -1)

    def shift(self, start, by):
        """Two steps, so that no two leaves ever have one place."""
        self.do("UPDATE log_leaves SET index = -(index + %s) WHERE index >= %s", by, start)
        self.do("UPDATE log_leaves SET index = -index WHERE index < 0")

    def swap(self, one, two):
        (a, a_at, _), (b, b_at, _) = self.entries()[one], self.entries()[two]
        self.do("DELETE FROM log_leaves WHERE index IN (%s, %s)", one, two)
        for index, identifier, at in ((one, b, b_at), (two, a, a_at)):
            self.do("INSERT INTO log_leaves (index, id, at) VALUES (%s, %s, %s)", index, identifier, at)

    def insert(self, place):
        """A copy of the entry before it that says otherwise, under an id of its own."""
        members = self.members(place - 1)
        members |= {"id": entry.uuid7(datetime.fromisoformat(members["at"]), b"0123456789"), "salt": "0" * 32}
        body = entry.canonical(members)
        self.shift(place, 1)
        self.do(
            ENTRY,
            members["id"], members["at"], members["type"], members["writer"], members["n"] + 10_000,
            leaf_hash(body), body,
        )  # fmt: skip
        self.do("INSERT INTO log_leaves (index, id, at) VALUES (%s, %s, %s)", place, members["id"], members["at"])

    def chain_anew(self, place):
        """Whatever names the entry, or follows in its writer, is made to fit."""
        last: dict[str, tuple[int, str]] = {}
        known: dict[tuple[str, int], str] = {}
        for at, (_, _, body) in enumerate(self.entries()):
            members = json.loads(body)
            n, leaf = last.get(members["writer"], (0, None))
            fitting = members | {"n": n + 1, "prev": leaf}
            if members["type"] == "session_opened" and (confirmed := members["confirmed"]):
                fitting["confirmed"] = confirmed | {"leaf": known[confirmed["writer"], confirmed["n"]]}
            if at >= place and fitting != members:
                self.write(at, fitting)
            leaf = leaf_hash(entry.canonical(fitting)).hex()
            last[members["writer"]] = n + 1, leaf
            known[members["writer"], n + 1] = leaf

    def rewrite_tree(self):
        """Leaves, tiles and head as if the log had always been like this."""
        leaves = [leaf_hash(body) for _, _, body in self.entries()]
        frontier = merkle.Frontier()
        self.do("DELETE FROM log_tiles")
        for level, hashes in frontier.append(leaves).items():
            for at in range(0, len(hashes), 256):
                data = b"".join(hashes[at : at + 256])
                self.do("INSERT INTO log_tiles (level, index, hashes) VALUES (%s, %s, %s)", level, at // 256, data)
        self.do("UPDATE log_head SET size = %s, root = %s", len(leaves), frontier.root())
        return frontier.root()

    def sign_anew(self, key):
        """With the log's stolen key: every head that was signed, again."""
        leaves = [leaf_hash(body) for _, _, body in self.entries()]
        sizes = [size for (size,) in self.service.sql("SELECT size FROM log_checkpoints ORDER BY size")]
        self.do("DELETE FROM log_checkpoints")
        for size in {min(size, len(leaves)) for size in sizes} | {len(leaves)}:
            frontier = merkle.Frontier()
            frontier.append(leaves[:size])
            signed = checkpoint.signed(Checkpoint(key.name, size, frontier.root()), [key])
            self.do("INSERT INTO log_checkpoints (size, note) VALUES (%s, %s)", size, signed)


class Auditor:
    """Holds the log's key, and the checkpoint that they fetched when the log had `size` entries."""

    def __init__(self, service, folder, old, sizes):
        self.service, self.folder = service, folder
        self.old = old
        self.first, self.size, self.last = sizes  # of three checkpoints, the second is the old one
        [self.key] = sequencing._signers(service.gate.settings).values()
        self.trust = Trust([self.key.verifier], [service.gate.receipts.verifier])

    async def export(self, **wanted):
        answer = await self.service.post("/v1/log/exports", Role.AUDITOR, json=wanted)
        assert answer.status_code == 200, answer.text
        path = self.folder / "bundle.zip"
        path.write_bytes(answer.content)
        return Bundle(path)

    async def verify(self, *, trust=None, old=True, receipts=(), high_water=(), **wanted):
        held = Held(self.old if old else None, receipts=receipts, high_water=high_water)
        return verify(await self.export(**wanted), trust or self.trust, held)


@pytest.fixture
def administrator(service):
    return Administrator(service)


@pytest.fixture
async def auditor(service, tmp_path):
    notes = []
    for _ in range(3):
        for _ in range(8):
            assert (await service.ask(question("acme/us"))).status_code == 200
        await service.sequence()
        notes.append((await service.get("/checkpoint")).content)
    sizes = [Checkpoint.parse(note.parts(each)[0]).size for each in notes]
    return Auditor(service, tmp_path, notes[1], sizes)


def first(report):
    """The range of leaves in which the first bad one is."""
    assert report.exit_code == 1
    assert report.first is not None
    return range(report.first.place, report.first.end or report.first.place + 1)


CHANGES = {
    "edited": lambda administrator, place: administrator.alter(place, outcome="deny"),
    "edited in the database's copy of the hash alone": lambda administrator, place: administrator.do(
        "UPDATE log_entries SET body = %s WHERE id = %s", b"{}", administrator.entries()[place][0]
    ),
    "deleted": lambda administrator, place: administrator.do(
        "DELETE FROM log_entries WHERE id = %s", administrator.entries()[place][0]
    ),
    "deleted, and the gap closed": lambda administrator, place: administrator.remove(place),
    "reordered": lambda administrator, place: administrator.swap(place, place + 3),
    "inserted": lambda administrator, place: administrator.insert(place),
    "back-dated by a second": lambda administrator, place: administrator.alter(
        place, at=timestamp(datetime.fromisoformat(administrator.members(place)["at"]) - timedelta(seconds=1))
    ),
}


async def test_an_untouched_log_is_verified(auditor):
    report = await auditor.verify()
    assert (report.exit_code, report.findings, report.denied) == (0, [], [])
    assert report.leaves == auditor.last
    assert f"the log continues your checkpoint of {auditor.size} entries" in report.checked


@pytest.mark.parametrize("change", CHANGES)
async def test_what_was_changed_is_named(auditor, administrator, change):
    place = auditor.first + 2
    CHANGES[change](administrator, place)
    report = await auditor.verify(size=auditor.last)
    assert first(report) == range(place, place + 1)
    # And of a bundle of a part, without an older checkpoint.
    report = await auditor.verify(**{"from": place - 3, "to": place + 3}, size=auditor.last, old=False)
    assert first(report) == range(place, place + 1)


REWRITTEN = {name: change for name, change in CHANGES.items() if name != "deleted" and "copy" not in name}


@pytest.mark.parametrize("change", REWRITTEN)
async def test_a_change_with_a_rewritten_tree_is_between_the_last_good_head_and_the_first_bad_one(
    auditor, administrator, change
):
    place = auditor.first + 2
    REWRITTEN[change](administrator, place)
    administrator.chain_anew(place)
    administrator.rewrite_tree()
    report = await auditor.verify(size=auditor.size)
    assert first(report) == range(auditor.first, auditor.size)


@pytest.mark.parametrize("change", REWRITTEN)
async def test_even_with_the_logs_own_key_an_older_checkpoint_tells(auditor, administrator, change):
    place = auditor.first + 2
    REWRITTEN[change](administrator, place)
    administrator.chain_anew(place)
    administrator.rewrite_tree()
    administrator.sign_anew(auditor.key)
    report = await auditor.verify()
    assert place in first(report)
    assert any("your checkpoint" in finding.what for finding in report.findings)


async def test_whoever_has_the_logs_key_deceives_those_who_kept_nothing(auditor, administrator):
    """Why checkpoints are kept outside, by witnesses and auditors."""
    place = auditor.size + 2
    administrator.alter(place, outcome="deny")
    administrator.chain_anew(place)
    administrator.rewrite_tree()
    administrator.sign_anew(auditor.key)
    assert (await auditor.verify(old=False)).exit_code == 0
    # The change is after the auditor's checkpoint: it says nothing of that.
    assert (await auditor.verify()).exit_code == 0


async def test_an_edit_whose_chain_was_left_as_it_was_is_named_without_any_head(auditor, administrator):
    place = auditor.first + 2
    administrator.alter(place, outcome="deny")
    administrator.rewrite_tree()
    administrator.sign_anew(auditor.key)
    assert first(await auditor.verify(old=False)) == range(place, place + 1)


async def test_a_log_that_was_cut_off_is_behind_an_older_checkpoint(auditor, administrator):
    for place in range(auditor.last - 1, auditor.size - 3, -1):
        administrator.remove(place)
    administrator.rewrite_tree()
    administrator.do("DELETE FROM log_checkpoints WHERE size >= %s", auditor.size)
    administrator.sign_anew(auditor.key)
    # By itself a smaller bundle may be of an older head: it is not verified, and no other can be had,
    report = await auditor.verify()
    assert (report.exit_code, len(report.denied)) == (2, 1)
    assert f"Export again with size {auditor.size}" in report.denied[0]
    answer = await auditor.service.post("/v1/log/exports", Role.AUDITOR, json={"size": auditor.size})
    assert answer.status_code == 404
    answer = await auditor.service.get(f"/v1/log/consistency?old={auditor.size - 2}&new={auditor.size}")
    assert answer.status_code == 400
    # until the log is as long again, which tells.
    for _ in range(4):
        await auditor.service.ask(question("acme/us"))
    administrator.do(
        "INSERT INTO log_leaves (index, id, at) SELECT %s - 1 + row_number() OVER (ORDER BY at), id, at FROM log_entries e"
        " WHERE NOT EXISTS (SELECT FROM log_leaves l WHERE l.id = e.id)",
        auditor.size - 2,
    )
    administrator.chain_anew(auditor.size - 2)
    administrator.rewrite_tree()
    administrator.sign_anew(auditor.key)
    report = await auditor.verify()
    assert auditor.size - 1 in first(report)
    assert any("your checkpoint" in finding.what for finding in report.findings)


async def test_a_witness_dates_what_it_saw(auditor, administrator):
    """Back-dated with the log's own key, and later than the auditor's checkpoint: the witness saw the log before."""
    administrator.do("DELETE FROM log_checkpoints WHERE size <> %s", auditor.size)
    seen = int(datetime.now().timestamp()) + 3600
    line = checkpoint.cosign(auditor.old, "w.example", WITNESS, seen)
    administrator.do(
        "UPDATE log_checkpoints SET note = %s WHERE size = %s",
        checkpoint.with_signatures(auditor.old, [line]), auditor.size,
    )  # fmt: skip
    [(last_note,)] = auditor.service.sql("SELECT note FROM log_checkpoints")
    leaves = [leaf_hash(body) for _, _, body in administrator.entries()]
    frontier = merkle.Frontier()
    frontier.append(leaves)
    signed = checkpoint.signed(Checkpoint(auditor.key.name, len(leaves), frontier.root()), [auditor.key])
    administrator.do("INSERT INTO log_checkpoints (size, note) VALUES (%s, %s)", len(leaves), signed)
    witness = VerifierKey("w.example", WITNESS.public_key().public_bytes_raw(), Kind.COSIGNATURE)
    trust = Trust(auditor.trust.keys, auditor.trust.receipt_keys, [witness])
    report = await auditor.verify(trust=trust)
    assert first(report) == range(auditor.size, auditor.size + 1)
    assert "back-dated" in report.first.what
    assert last_note != auditor.old


# --- the last second, which no head covers yet -------------------------------------------------------------------


async def test_removed_before_it_was_sequenced_an_entry_is_missed_by_nobody_but_its_receipt(auditor, administrator):
    service = auditor.service
    decision = (await service.ask(question("acme/us"))).json()["context"]["id"]
    body = service.sql("SELECT body FROM log_entries WHERE id = %s", decision)[0][0]
    signer = service.gate.receipts
    assert signer is not None
    promised = Receipt(
        signer.name.removesuffix("/receipt"), decision, leaf_hash(body), service.now - timedelta(minutes=7)
    )
    given = receipt.signed(promised, signer)
    high_water = [json.loads(each.read_text()) for each in (db.state(service.gate.settings) / "writers").iterdir()]
    assert high_water[0]["leaf"] == leaf_hash(body).hex()
    dated = [each | {"at": (promised.at - EPOCH) // timedelta(microseconds=1)} for each in high_water]
    assert (await auditor.verify()).exit_code == 0
    administrator.do("DELETE FROM log_queue WHERE entry_id = %s", decision)
    administrator.do("DELETE FROM log_entries WHERE id = %s", decision)
    await service.sequence()
    # The next entry names the one that was removed: somebody who stops the gate as well avoids that.
    bare = await auditor.verify(size=auditor.last)
    assert (bare.exit_code, bare.findings) == (0, [])
    # Undated, the file may be ahead of the bundle.
    assert (await auditor.verify(size=auditor.last, high_water=high_water)).exit_code == 0
    for kept in ({"receipts": [given]}, {"high_water": dated}):
        report = await auditor.verify(size=auditor.last, **kept)
        assert report.exit_code == 1
        assert [finding.what.partition(" knows ")[2][-14:] for finding in report.findings] == ["it was removed"]


async def test_what_came_after_the_head_of_a_bundle_is_not_taken_for_removed(auditor):
    """However late the bundle is made: of an older tree, or while the sequencer stands."""
    service = auditor.service
    decision = (await service.ask(question("acme/us"))).json()["context"]["id"]
    given = (await service.get(f"/v1/decisions/{decision}/receipt")).content
    high_water = [json.loads(each.read_text()) for each in (db.state(service.gate.settings) / "writers").iterdir()]
    why = "it is not in the bundle, which is only a part of the log, or ends too soon after the receipt"
    keys = {"log_keys": auditor.folder / "log-keys", "receipt_key": auditor.folder / "receipt.pem"}
    async with Service.running(service.database, auditor.folder / "later", timedelta(hours=2), **keys) as later:
        later.keys, auditor.service = service.keys, later
        for size in (auditor.last, auditor.size):
            report = await auditor.verify(size=size, receipts=[given], high_water=high_water, old=False)
            assert (report.findings, report.exit_code) == ([], 2)
            assert report.denied == [f"the receipt of {decision}: {why}"]
        await service.sequence()
        report = await auditor.verify(receipts=[given], high_water=high_water, old=False)
        assert (report.findings, report.exit_code) == ([], 0)


async def test_the_next_session_tells_of_an_entry_that_was_removed_while_the_gate_stood(auditor, administrator):
    service, folder = auditor.service, auditor.folder
    keys = {"log_keys": folder / "log-keys", "receipt_key": folder / "receipt.pem"}
    async with Service.running(service.database, folder / "other host", **keys) as other:
        other.keys = service.keys
        decision = (await other.ask(question("acme/us"))).json()["context"]["id"]
    [(writer, n)] = service.sql("SELECT writer, n FROM log_entries WHERE id = %s", decision)
    administrator.do("DELETE FROM log_queue WHERE entry_id = %s", decision)
    administrator.do("DELETE FROM log_entries WHERE id = %s", decision)
    async with Service.running(service.database, folder / "other host", **keys) as again:
        again.keys = service.keys
        assert (await again.ask(question("acme/us"))).status_code == 200
    await service.sequence()
    report = await auditor.verify()
    assert [finding.what for finding in report.findings] == [
        f"the opening at leaf {report.first.place} knows entry {n} of {writer}, which is not in the log: it was removed"
    ]
    assert report.first.place >= auditor.last
