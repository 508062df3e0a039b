"""A bundle that is wrong in one place is never verified, and the place is named."""

import json
import random
import zipfile
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mythos_gate.audit import bundle, checkpoint, entry, merkle, note, receipt
from mythos_gate.audit.bundle import Archive, Bundle, Manifest, Member, Unreadable
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.entry import leaf_hash, timestamp
from mythos_gate.audit.merkle import Frontier
from mythos_gate.audit.note import BadNote, Kind, SignerKey, VerifierKey
from mythos_gate.audit.receipt import Receipt
from mythos_gate.audit.report import Held, Trust
from mythos_gate.audit.verify import verify
from tests.audit.bundles import KEY, NOON, ONE, ORIGIN, POLICY, RECEIPTS, TRUST, TWO, Log, files_of, usual, written

STOLEN = SignerKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"s" * 32))
WITNESSES = {name: Ed25519PrivateKey.from_private_bytes(name.encode() * 16) for name in ("w1", "w2")}
WITNESS_KEYS = [
    VerifierKey(name, key.public_key().public_bytes_raw(), Kind.COSIGNATURE) for name, key in WITNESSES.items()
]

NOTHING = Held()


@pytest.fixture
def check(tmp_path):
    """Write a bundle, with its files spoilt, and verify it."""

    def run(
        log, spoil=None, trust=TRUST, held=NOTHING, heads=(), signer=RECEIPTS, start=0, end=None, size=None, **options
    ):
        files = files_of(log, start, end, size, heads)
        if spoil is not None:
            spoil(files)
        path = written(tmp_path / "bundle.zip", files, log, start, end, size, signer)
        return verify(Bundle(path), trust, held, **options)

    return run


def lines(files, name=bundle.RECORDS):
    return files[name].split(b"\n")[:-1]


def put(files, changed, name=bundle.RECORDS):
    files[name] = b"".join(line + b"\n" for line in changed)


def places(report):
    return sorted({finding.place for finding in report.findings if finding.place is not None})


def told(report):
    return " | ".join(finding.what for finding in report.findings)


# --- what is sound -----------------------------------------------------------------------------------------------


def test_a_whole_log_is_verified(check):
    report = check(usual(), heads=[3, 9, 20])
    assert (report.findings, report.denied, report.exit_code) == ([], [], 0)
    assert "leaves 0 to 32 of 33: each is what was signed, in its place, and none is left out" in report.checked
    assert "4 signed heads fit the entries" in report.checked


def test_every_range_of_every_size_is_verified_and_shows_no_less_than_it_says(check):
    log = usual(6)
    for size in range(1, len(log.bodies) + 1):
        for start in range(size):
            for end in range(start + 1, size + 1):
                report = check(log, start=start, end=end, size=size)
                assert (report.exit_code, report.findings) == (0, []), (start, end, size)


def test_a_folder_is_read_like_the_zip_that_it_came_from(tmp_path):
    log = usual()
    zipfile.ZipFile(written(tmp_path / "one.zip", files_of(log), log)).extractall(tmp_path / "folder")
    assert verify(Bundle(tmp_path / "folder"), TRUST).exit_code == 0


def test_processes_may_share_the_work(check, monkeypatch):
    monkeypatch.setattr("mythos_gate.audit.bundle.BLOCK", 700)
    asked = []

    def mapping(work, pieces):
        for piece in pieces:
            asked.append(piece)
            yield work(piece)

    log = usual()
    assert check(log, mapping=mapping).exit_code == 0
    assert [line for piece in asked for line in piece] == log.bodies
    assert len(asked) > 5


# --- what was spoilt in the bundle -------------------------------------------------------------------------------


def edited(files):
    changed = lines(files)
    changed[7] = changed[7].replace(b'"deny"', b'"hold"')
    put(files, changed)


def swapped(files):
    changed = lines(files)
    changed[7], changed[8] = changed[8], changed[7]
    put(files, changed)


def removed(files):
    put(files, lines(files)[:7] + lines(files)[8:])


def emptied(files):
    put(files, [*lines(files)[:7], b"", *lines(files)[8:]])


def doubled(files):
    put(files, [*lines(files)[:8], lines(files)[7], *lines(files)[8:]])


def other_leaves(files):
    files[bundle.LEAVES] = files[bundle.LEAVES][:224] + bytes(32) + files[bundle.LEAVES][256:]


@pytest.mark.parametrize(
    ("spoil", "place", "what"),
    [
        (edited, 7, "is not the entry that was signed"),
        (swapped, 7, "is not the entry that was signed"),
        (emptied, 7, "is not there: its entry was removed"),
        (other_leaves, 7, "leaves.bin is not of these entries"),
    ],
)
def test_the_first_bad_leaf_is_named(check, spoil, place, what):
    report = check(usual(), spoil)
    assert report.exit_code == 1
    assert report.first.place == place
    assert what in told(report)


def cut(files):
    put(files, lines(files)[:-2])


def longer(files):
    put(files, [*lines(files), lines(files)[3]])


@pytest.mark.parametrize(
    ("spoil", "count", "place"), [(removed, 32, 7), (doubled, 34, 8), (cut, 31, 31), (longer, 34, 33)]
)
def test_of_one_line_more_or_less_the_first_that_is_not_in_its_place_is_named(check, spoil, count, place):
    report = check(usual(), spoil, heads=[4, 20])
    assert f"has {count} lines for leaves 0 to 33" in told(report)
    assert report.first.place == place


def test_if_the_leaf_hashes_were_changed_as_well_the_heads_bracket_a_line_that_is_gone(check):
    def both(files):
        removed(files)
        files[bundle.LEAVES] = b"".join(map(leaf_hash, lines(files)))

    report = check(usual(), both, heads=[3, 6, 12, 20])
    assert "has 32 lines for leaves 0 to 33" in told(report)
    assert (report.first.place, report.first.end) == (6, 12)


def test_entries_that_may_be_gone_are_missed_by_nobody_and_the_tree_still_stands(check):
    report = check(usual(), emptied, pruned=8)
    assert (report.findings, report.exit_code) == ([], 0)
    assert "entries that are no longer kept (1)" in report.unchecked
    assert check(usual(), emptied, pruned=7).exit_code == 1


def test_where_entries_and_leaf_hashes_were_changed_together_the_heads_bracket_it(check):
    def both(files):
        edited(files)
        changed = [leaf_hash(line) for line in lines(files)]
        files[bundle.LEAVES] = b"".join(changed)

    report = check(usual(), both, heads=[3, 6, 12, 20])
    assert (report.first.place, report.first.end) == (6, 12)
    assert "the entries lead to another root" in report.first.what
    # And of a part, whose chains are not looked at before it.
    report = check(usual(), lambda files: both_at(files, 2), heads=[6, 12, 20], start=5)
    assert (report.first.place, report.first.end) == (6, 12)


def both_at(files, at):
    changed = lines(files)
    changed[at] = changed[at].replace(b'"deny"', b'"hold"')
    put(files, changed)
    files[bundle.LEAVES] = b"".join(map(leaf_hash, changed))


def test_what_is_beside_a_part_must_fit_too(check):
    def spoil(files):
        changed = lines(files, bundle.SUBTREES)
        changed[-1] = note.base64(bytes(32)).encode()
        put(files, changed, bundle.SUBTREES)

    assert check(usual(), spoil, start=5, end=9).exit_code == 1
    with pytest.raises(Unreadable):
        check(usual(), lambda files: files.update({bundle.SUBTREES: b""}), start=5, end=9)


@pytest.mark.parametrize("by", [-32, -1, 1, 32, 64])
def test_leaf_hashes_that_are_too_few_or_too_many_are_found_and_the_rest_is_still_checked(check, by):
    def spoil(files):
        edited(files)
        files[bundle.LEAVES] = files[bundle.LEAVES][:by] if by < 0 else files[bundle.LEAVES] + bytes(by)

    report = check(usual(), spoil, heads=[4, 20])
    assert f"leaves.bin has {33 * 32 + by} bytes for leaves 0 to 33" in told(report)
    assert (report.first.place, report.first.end) == ((4, 20) if by < 0 else (7, None))
    report = check(usual(), spoil, start=6, end=22, heads=[9, 20])
    assert f"leaves.bin has {16 * 32 + by} bytes for leaves 6 to 22" in told(report)
    assert (report.first.place, report.first.end) == ((9, 20) if by < 0 else (13, None))


def test_a_checkpoint_of_another_size_than_the_manifests_is_found_and_the_rest_is_still_checked(tmp_path):
    log = usual()
    for size in (20, 33):
        for other in (9, 33, 40):
            if other == size:
                continue
            files = files_of(log, 6, 18, size) | {bundle.CHECKPOINT: other_size(other)}
            edited(files)
            report = verify(Bundle(written(tmp_path / "one.zip", files, log, 6, 18, size)), TRUST)
            assert f"the checkpoint is of size {other}, the manifest of {size}" in told(report)
            assert report.first is not None
            assert report.first.place == 13
            assert any(each.startswith("entries: ") for each in report.checked)


@pytest.mark.parametrize("name", [bundle.CHECKPOINT, bundle.CHECKPOINTS, bundle.SUBTREES])
@pytest.mark.parametrize("piece", [b"\n", b"0"])
def test_a_few_bytes_that_become_many_are_not_taken_in(check, name, piece):
    with pytest.raises(Unreadable, match="has more than"):
        check(usual(), lambda files: files.update({name: piece * (bundle.MOST_BYTES + 1)}))


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda files: files.update({bundle.CHECKPOINT: usual().signed(33, STOLEN)}), "not signed by a known key"),
        (lambda files: files.update({bundle.CHECKPOINT: b"x"}), "the checkpoint: "),
        (lambda files: files.update({bundle.CHECKPOINT: other_size(9)}), "of size 9, the manifest of 33"),
        (lambda files: files.update({bundle.CHECKPOINTS: heads(other_root(9))}), "another tree of size 9"),
        (lambda files: files.update({bundle.CHECKPOINTS: heads(other_root(33))}), "signed two trees of size 33"),
        (lambda files: files.update({bundle.CHECKPOINTS: b"{}\n"}), "one of checkpoints.ndjson"),
    ],
)
def test_heads_are_the_logs_own_and_of_one_tree(check, spoil, what):
    report = check(usual(), spoil)
    assert report.exit_code == 1
    assert what in told(report)


def other_size(size):
    return checkpoint.signed(Checkpoint(ORIGIN, size, bytes(32)), [KEY])


def other_root(size):
    return checkpoint.signed(Checkpoint(ORIGIN, size, bytes(32)), [KEY])


def heads(*notes):
    return bundle.checkpoint_lines(notes)


def test_heads_of_a_key_that_is_no_longer_given_are_no_finding_and_say_nothing(check):
    """After a rotation: the auditor has the key of today alone."""
    log = usual()
    given = heads(log.signed(9, STOLEN), checkpoint.signed(Checkpoint(ORIGIN, 20, bytes(32)), [STOLEN]), log.signed(33))
    report = check(log, lambda files: files.update({bundle.CHECKPOINTS: given}))
    assert (report.findings, report.exit_code) == ([], 0)
    assert "heads that none of the given keys signed, as before a rotation (2)" in report.unchecked
    assert "1 signed heads fit the entries" in report.checked
    both = Trust([KEY.verifier, STOLEN.verifier])
    assert "another tree of size 20" in told(check(log, lambda files: files.update({bundle.CHECKPOINTS: given}), both))


def test_a_head_that_claims_a_given_key_and_is_not_signed_by_it_is_found(check):
    log = usual()
    spoilt = log.signed(9).replace(b"\n9\n", b"\n8\n")
    report = check(log, lambda files: files.update({bundle.CHECKPOINTS: heads(spoilt)}))
    assert "one of checkpoints.ndjson: the signature of test.example/log does not hold" in told(report)


def test_a_manifest_that_others_signed_is_told_and_one_that_nobody_can_check_too(check):
    assert "the manifest is not signed" in told(check(usual(), signer=SignerKey("x", STOLEN.private)))
    report = check(usual(), trust=Trust([KEY.verifier]))
    assert report.exit_code == 0
    assert "who made the bundle: no key of receipts was given" in report.unchecked


def test_files_are_those_that_the_manifest_names(tmp_path):
    log = usual()
    zipfile.ZipFile(written(tmp_path / "one.zip", files_of(log) | {"records.csv": b"a"}, log)).extractall(
        tmp_path / "x"
    )
    (tmp_path / "x" / "records.csv").write_bytes(b"b")
    (tmp_path / "x" / "more").write_bytes(b"b")
    report = verify(Bundle(tmp_path / "x"), TRUST)
    assert told(report) == "records.csv is not the file that the manifest names: it was damaged or exchanged"
    assert "files that the manifest does not name: more" in report.unchecked


def test_no_file_beside_the_bundle_is_read(tmp_path):
    log = usual()
    archive = Archive(NOON)
    for name, data in files_of(log).items():
        archive.add(name, data)
    beside = tmp_path / "beside"
    beside.write_bytes(b"")
    files = archive.files | {"../beside": Member(0, sha256().hexdigest())}
    archive.finish(bundle.signed(Manifest(ORIGIN, "1", "", "", 0, 33, 33, 33, {}, 0, files), RECEIPTS))
    (tmp_path / "one.zip").write_bytes(archive.take())
    zipfile.ZipFile(tmp_path / "one.zip").extractall(tmp_path / "x")
    with pytest.raises(Unreadable, match=r"\.\./beside is missing"):
        verify(Bundle(tmp_path / "x"), TRUST)


def test_what_is_no_bundle_cannot_be_read(tmp_path):
    log = usual()
    whole = written(tmp_path / "one.zip", files_of(log), log).read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 30):
        (tmp_path / "cut.zip").write_bytes(whole[:cut])
        with pytest.raises(Unreadable):
            verify(Bundle(tmp_path / "cut.zip"), TRUST)
    with pytest.raises(Unreadable):
        Bundle(tmp_path)
    for name in (bundle.RECORDS, bundle.CHECKPOINT, bundle.SUBTREES, bundle.LEAVES, bundle.CHECKPOINTS):
        files = files_of(log)
        del files[name]
        with pytest.raises(Unreadable):
            verify(Bundle(written(tmp_path / "less.zip", files, log)), TRUST)


def test_no_bit_can_be_flipped(tmp_path):
    """Of any file that is not for the eye; and the manifest's signature is one of them."""
    log = usual()
    zipfile.ZipFile(written(tmp_path / "one.zip", files_of(log, 5, 21, heads=[9]), log, 5, 21)).extractall(
        tmp_path / "x"
    )
    chosen = random.Random(7)
    for path in sorted((tmp_path / "x").iterdir()):
        data = path.read_bytes()
        for _ in range(60):
            at = chosen.randrange(len(data))
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << chosen.randrange(8)]) + data[at + 1 :])
            try:
                code = verify(Bundle(tmp_path / "x"), TRUST).exit_code
            except Unreadable:
                code = 2
            assert code, (path.name, at)
        path.write_bytes(data)


# --- what the log itself says wrongly ----------------------------------------------------------------------------


def wrong(*steps):
    log = usual(4)
    for step in steps:
        step(log)
    return log


def number(by):
    def step(log):
        n, leaf = log.writers[TWO]
        log.writers[TWO] = n + by, leaf
        log.decide(TWO)

    return step


def another_leaf(log):
    log.writers[TWO] = log.writers[TWO][0], bytes(32)
    log.decide(TWO)


def raw(body):
    return lambda log: log.put(body)


def canonical(**members):
    def step(log):
        made = json.loads(log.bodies[-1])
        log.put(entry.canonical({name: value for name, value in (made | members).items() if value != "gone"}))

    return step


def late(by):
    def step(log):
        log.at += by
        log.decide(TWO)

    return step


def ahead(count):
    """So many entries by a clock that is hours ahead, and some by one that is right again."""

    def step(log):
        for hours, entries in ((9, count), (-9, 3)):
            log.at += timedelta(hours=hours)
            for _ in range(entries):
                log.decide(TWO)

    return step


@pytest.mark.parametrize(
    ("step", "place", "what"),
    [
        (ahead(1), 9, "one of them has a wrong time: the first says 2026-03-01T21:00:10.000000Z, the last 2026-03-01T12:00:11"),
        (lambda log: log.add("policy_activated", TWO, sha256="cd" * 32), 9, f"is policy_activated and by {TWO}, who writes none"),
        (lambda log: log.add("log_pruned", TWO, before="2016-01", first=0, last=0, entries=1), 9, "is log_pruned and by"),
        (lambda log: log.add("log_key_retired", TWO, verifier=KEY.verifier.text), 9, "is log_key_retired and by"),
        (lambda log: log.add("anchor", "registry", checkpoint={"size": 1, "root": "00" * 32}), 9, "is anchor and by registry"),
        (lambda log: log.open("registry"), 9, "is session_opened and by registry"),
        (number(1), 9, f"is entry 5 of {TWO}, after entry 3"),
        (number(-1), 9, f"is entry 3 of {TWO}, after entry 3"),
        (another_leaf, 7, "is not what leaf 9, the next entry of pdp-2222222222222222, says it was"),
        (lambda log: log.decide("pdp-3333333333333333"), 9, "is the first entry of pdp-3333333333333333 and no opening"),
        (lambda log: log.decide(TWO, sha256="00" * 32), 9, "rests on a policy that was never activated before"),
        (lambda log: log.decide(TWO, id=json.loads(log.bodies[6])["id"]), 9, "has the id of an entry before"),
        (lambda log: log.decide(TWO, at=timestamp(NOON - timedelta(hours=1))), 9, "it is back-dated"),
        (late(timedelta(hours=-1)), 9, "it is back-dated"),
        (lambda log: log.decide(TWO, at=timestamp(NOON + timedelta(hours=9))), 9, "but its id was made 32390 s apart"),
        (lambda log: log.open(TWO, ONE), 9, "is an opening in the middle of a session"),
        (lambda log: log.add("session_opened", "pdp-3333333333333333"), 9, "without what an opening says"),
        (raw(b'{"b":1,"a":2}'), 9, "written in one way only"),
        (raw(b'{"a":1.5}'), 9, "a log entry cannot hold 1.5"),
        (raw(b'{"A":1}'), 9, "a log entry has no member 'A'"),
        (raw(b"[]"), 9, "a log entry is an object"),
        (raw(b"{"), 9, ""),
        (raw(b'{"a":' * 980 + b"1" + b"}" * 980), 9, ""),
        (lambda log: opened(log, confirmed={"writer": [], "n": 1, "leaf": "00" * 32}), 9, "it was removed"),
        (canonical(log="other.example/log"), 9, "is of another log"),
        (canonical(v=2), 9, "is of version 2"),
        (canonical(salt="gone"), 9, "lacks 'salt'"),
        (canonical(n=0), 9, "has no type or number"),
        (canonical(at="2026-03-01T12:00:00Z"), 9, "has a time, id, writer, salt or prev that is not written"),
        (canonical(at="2026-02-30T12:00:00.000000Z"), 9, ""),
        (lambda log: log.add("decision", TWO, policy={"sha256": POLICY}), 9, "is a decision without action, bypassed"),
    ],
)  # fmt: skip
def test_what_entries_say_of_each_other_holds(check, step, place, what):
    report = check(wrong(step))
    assert report.exit_code == 1
    assert places(report) == [place], told(report)
    assert what in told(report)


@pytest.mark.parametrize(
    "policy",
    [
        None, "x", [], 5, {}, {"revision": 1}, {"sha256": POLICY}, {"revision": "1", "sha256": POLICY},
        {"revision": True, "sha256": POLICY}, {"revision": None, "sha256": POLICY}, {"revision": 1, "sha256": POLICY[1:]},
        {"revision": 1, "sha256": POLICY.upper()}, {"revision": 1, "sha256": None}, {"revision": 1, "sha256": [POLICY]},
        {"revision": 1, "sha256": f"{POLICY}\n"},
    ],
)  # fmt: skip
def test_a_decision_names_its_policy(check, policy):
    report = check(wrong(lambda log: log.decide(TWO, policy=policy)))
    assert (report.exit_code, places(report)) == (1, [9])
    assert told(report) == "is a decision whose policy is not written as {revision, sha256}"


def test_times_that_two_entries_agree_on_stand(check):
    """Then whatever is older comes too late, whoever is right."""
    report = check(wrong(ahead(2)))
    assert places(report) == [11, 12, 13], told(report)
    assert "it is back-dated" in told(report)


def test_a_head_that_only_a_retired_key_signed_is_found(check):
    log = wrong(lambda log: log.add("log_key_retired", "registry", actor="a", verifier=KEY.verifier.text))
    size = len(log.bodies)
    report = check(log)
    assert report.exit_code == 1
    assert f"no key but one that the log retired at leaf 9 signed the head of {size} entries" in told(report)
    both = checkpoint.signed(checkpoint.unverified(log.signed(size)), [KEY, STOLEN])
    known = Trust([KEY.verifier, STOLEN.verifier], TRUST.receipt_keys)
    for signed in both, log.signed(size, STOLEN):
        files = {bundle.CHECKPOINT: signed, bundle.CHECKPOINTS: heads(log.signed(9), signed)}
        report = check(log, lambda made, files=files: made.update(files), known)
        assert (report.findings, report.exit_code) == ([], 0), told(report)


def test_a_clock_that_was_set_back_a_little_is_told_and_no_finding(check):
    log = usual(4)
    log.at -= timedelta(seconds=30)
    log.add("person_suspended", "registry", actor="a", person="per_1", before="active", after="suspended")
    report = check(log)
    assert report.exit_code == 0
    assert any("a clock that was set back (1)" in each for each in report.unchecked)
    assert check(log, tolerance=timedelta(seconds=5)).exit_code == 1


def anchor(size, root=None):
    def step(log):
        head = {"size": size, "root": (root or log.root(size)).hex(), "sha256": "00" * 32}
        log.add("anchor", TWO, checkpoint=head, cosigned=[], timestamp=None)

    return step


@pytest.mark.parametrize(
    ("step", "start", "what"),
    [
        (anchor(5), 0, ""),
        (anchor(9), 3, ""),
        (anchor(2), 3, ""),
        (anchor(5, bytes(32)), 0, "is an anchor of another tree of 5 entries"),
        (anchor(5, bytes(32)), 3, "is an anchor of another tree of 5 entries"),
        (anchor(10, bytes(32)), 0, "is an anchor of a head of 10 entries, which there was not yet"),
        (lambda log: log.add("anchor", TWO), 0, "is an anchor without what an anchor says"),
    ],
)
def test_anchors_name_the_tree_that_there_was(check, step, start, what):
    report = check(wrong(step), start=start)
    assert (places(report), what in told(report)) == ([9] if what else [], True)


def test_of_the_tree_no_more_is_made_again_than_anchors_need(tmp_path, monkeypatch):
    """It is most of the work."""
    appended = []
    append = Frontier.append

    def counted(self, leaves):
        appended.append(len(leaves))
        return append(self, leaves)

    monkeypatch.setattr(Frontier, "append", counted)
    for steps, start, again in (((), 0, 0), ((anchor(2),), 3, 0), ((anchor(5),), 0, 5), ((anchor(5), anchor(4)), 3, 2)):
        log = wrong(*steps)
        path = written(tmp_path / "bundle.zip", files_of(log, start), log, start)
        appended.clear()
        assert verify(Bundle(path), TRUST).exit_code == 0
        assert sum(appended) == len(log.bodies) - start + again


def aged(**told_as):
    """Of 2015 leaves 0 to 5, of 2016 leaves 6 to 8; leaf 9 says ten years later what was pruned."""
    log = Log()
    log.at = datetime(2015, 10, 1, tzinfo=UTC)
    log.add("policy_activated", "registry", actor="a", before=None, after=1, sha256=POLICY)
    log.open(ONE)
    for _ in range(4):
        log.decide(ONE)
    log.at = datetime(2016, 1, 10, tzinfo=UTC)
    log.open(TWO, ONE)
    log.decide(TWO)
    log.decide(TWO)
    log.at = told_as.pop("at", NOON)
    log.add(
        "log_pruned", "registry", **({"actor": "a", "before": "2016-01", "first": 0, "last": 5, "entries": 6} | told_as)
    )
    return log


def without(gone):
    return lambda files: put(files, [b"" if at in gone else line for at, line in enumerate(lines(files))])


@pytest.mark.parametrize(
    ("gone", "told_as", "found"),
    [
        (range(6), {}, []),
        (range(6), {"first": 0, "last": 9, "entries": 9}, []),
        (range(6), {"last": 4}, [5]),
        (range(6), {"entries": 5}, [0]),
        # An entry that is older than the prune was kept: it was none.
        (range(1, 6), {"entries": 5}, [1, 2, 3, 4, 5, 9]),
        ((2, 3), {"first": 2, "last": 3, "entries": 2}, [2, 3, 9]),
        ((), {}, [9]),
        # An entry behind a younger one is younger, and was not dropped.
        ([*range(6), 7], {"last": 7, "entries": 7}, [7]),
        ([*range(6), 6], {"last": 6, "entries": 7}, []),  # before leaf 7 of 2016, how old it was is not to be known
        # What has to be kept was not dropped by the rules.
        (range(6), {"before": "2016-04"}, [0, 1, 2, 3, 4, 5, 9]),
        (range(6), {"before": "2016-03"}, [0, 1, 2, 3, 4, 5, 9]),  # leaves 6 to 8 are older, and there
        (range(9), {"before": "2016-03", "last": 8, "entries": 9}, []),
        (range(6), {"at": datetime(2025, 12, 31, 23, 59, tzinfo=UTC)}, [0, 1, 2, 3, 4, 5, 9]),
        (range(6), {"at": datetime(2026, 1, 1, tzinfo=UTC)}, []),
        (range(6), {"before": None}, [0, 1, 2, 3, 4, 5, 9]),
        (range(6), {"before": "2016-1"}, [0, 1, 2, 3, 4, 5, 9]),
        (range(6), {"before": "9999-01"}, [0, 1, 2, 3, 4, 5, 9]),
        (range(6), {"first": None}, [0, 1, 2, 3, 4, 5, 9]),
    ],
)
def test_entries_are_gone_only_where_the_log_says_that_they_were_pruned_and_they_can_have_been(
    check, gone, told_as, found
):
    report = check(aged(**told_as), without(gone))
    assert places(report) == found, told(report)


def test_a_prune_excuses_nothing_that_was_written_after_it(check):
    log = aged()
    log.decide(TWO)
    assert places(check(log, without([*range(6), 10]))) == [10]
    log = aged(last=10, entries=7)
    log.decide(TWO)
    assert places(check(log, without([*range(6), 10]))) == [10]


def test_what_came_after_a_witness_saw_the_log_of_late_is_no_prune(check):
    log = aged()
    seen = cosigned(log, 3, int((NOON - timedelta(days=9)).timestamp()))
    trust = Trust(TRUST.keys, TRUST.receipt_keys, WITNESS_KEYS)
    report = check(
        log, lambda files: (without(range(6))(files), files.update({bundle.CHECKPOINTS: heads(seen)})), trust
    )
    assert {3, 4, 5} <= set(places(report)), told(report)
    assert report.exit_code == 1


def test_times_that_differ_by_less_than_the_tolerance_are_no_evidence_about_a_prune(check):
    log = Log()
    log.at = datetime(2015, 12, 31, 23, 57, tzinfo=UTC)
    log.add("policy_activated", "registry", actor="a", before=None, after=1, sha256=POLICY)
    log.at = datetime(2016, 1, 1, 0, 3, tzinfo=UTC)
    log.open(ONE)
    log.at = datetime(2015, 12, 31, 23, 59, tzinfo=UTC)
    log.decide(ONE)
    log.at = NOON
    log.add("log_pruned", "registry", actor="a", before="2016-01", first=0, last=2, entries=2)
    report = check(log, without([0, 2]))
    assert (report.findings, report.exit_code) == ([], 0)
    assert places(check(log, without([0, 2]), tolerance=timedelta(seconds=10))) == [2]


def opened(log, **members):
    known = {"confirmed": None, "unknown": []} | members
    return log.add("session_opened", "pdp-3333333333333333", **known)


def batch(log, first, last, leaf):
    return {"unknown": [{"writer": TWO, "from": first, "to": last, "leaf": leaf.hex()}]}


@pytest.mark.parametrize(
    ("members", "what"),
    [
        (lambda log: batch(log, 4, 6, bytes(32)), ""),
        (lambda log: batch(log, 2, 3, log.leaf(7)), ""),
        (lambda log: batch(log, 2, 3, bytes(32)), "of which only some are there"),
        (lambda log: batch(log, 2, 4, log.leaf(7)), "of which only some are there"),
        (lambda log: batch(log, 1, 2, log.leaf(7)), "of which only some are there"),
        (lambda log: {"confirmed": {"writer": TWO, "n": 3, "leaf": log.leaf(7).hex()}}, ""),
        (lambda log: {"confirmed": {"writer": TWO, "n": 3, "leaf": log.leaf(6).hex()}}, "is not the entry 3 of"),
        (lambda log: {"confirmed": {"writer": TWO, "n": 4, "leaf": log.leaf(7).hex()}}, "it was removed"),
        (lambda log: {"confirmed": {"writer": "pdp-4444444444444444", "n": 1, "leaf": "00" * 32}}, "it was removed"),
    ],
)
def test_openings_are_held_to_the_log(check, members, what):
    log = usual(4)
    opened(log, **members(log))
    report = check(log)
    assert bool(report.findings) == bool(what)
    assert what in told(report)


def test_of_a_part_what_came_before_is_told_to_be_unknown(check):
    report = check(usual(), start=5)
    assert report.exit_code == 0
    assert [each for each in report.unchecked if "before" in each] == [
        "policies of decisions, which were activated before the bundle begins (17)",
        "what came before the first entry of a writer in the bundle (2)",
        "whether the log was rewritten before: no older checkpoint was given",
    ]


# --- what the auditor holds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 9, 33])
def test_an_older_checkpoint_is_continued(check, size):
    log = usual()
    report = check(log, held=Held(log.signed(size)))
    assert f"the log continues your checkpoint of {size} entries" in report.checked
    assert report.exit_code == 0


def test_an_older_checkpoint_that_is_not_continued_brackets_the_change(check):
    log, before = usual(), usual()  # other salts: nothing of them is the same
    report = check(log, held=Held(before.signed(9)), heads=[4])
    assert (report.first.place, report.first.end) == (4, 9)
    assert "your checkpoint of 9" in report.first.what
    report = check(log, held=Held(before.signed(33)))
    assert "another tree of size 33 than your checkpoint" in told(report)


def consistency(log, old, new) -> dict[str, Any]:
    """As /v1/log/consistency answers."""
    tiles = {merkle.Tile(0, 0): b"".join(map(leaf_hash, log.bodies))}
    hashes = merkle.proof(merkle.consistency_nodes(old, new), tiles)
    return {"old": old, "new": new, "hashes": [note.base64(each) for each in hashes]}


def test_an_older_checkpoint_that_the_bundle_does_not_reach_needs_a_proof(check):
    log = usual()
    held = Held(log.signed(5))
    assert check(log, held=held, start=9).exit_code == 2
    proof = consistency(log, 5, 33)
    assert check(log, held=Held(log.signed(5), proof), start=9).exit_code == 0
    assert check(log, held=Held(usual().signed(5), proof), start=9).exit_code == 1
    assert check(log, held=Held(log.signed(5), {"hashes": proof["hashes"][1:]}), start=9).exit_code == 1
    assert check(log, held=Held(log.signed(5), {}), start=9).exit_code == 1


def test_a_newer_checkpoint_than_the_bundle_needs_a_newer_bundle_or_a_proof(check):
    """An export may be of the newest head that enough witnesses cosigned, while the gate gives out a newer one."""
    log = usual()
    why = (
        "your checkpoint of 33 entries: the bundle is of the first 20. Export again with size 33, or give the "
        "consistency proof from 20 to 33 (GET /v1/log/consistency?old=20&new=33)"
    )
    for start in (0, 9):
        report = check(log, held=Held(log.signed(33)), size=20, start=start)
        assert (report.findings, report.denied, report.exit_code) == ([], [why], 2)
        for proof, code in ((consistency(log, 20, 33), 0), (consistency(usual(), 20, 33), 1), ({}, 1)):
            report = check(log, held=Held(log.signed(33), proof), size=20, start=start)
            assert (report.exit_code, report.denied) == (code, []), proof
    report = check(log, held=Held(log.signed(33), consistency(log, 20, 33)), size=20)
    assert "your checkpoint of 33 entries continues the bundle's, by the proof given" in report.checked
    report = check(log, held=Held(usual().signed(33), consistency(log, 20, 33)), size=20)
    assert "your checkpoint of 33 entries does not continue the bundle's" in told(report)


def test_a_newer_checkpoint_than_the_bundle_is_no_reason_to_overlook_anything(check):
    log = usual()
    log.decide("pdp-3333333333333333")
    report = check(log, edited, held=Held(log.signed(34)), size=33)
    assert (report.exit_code, places(report)) == (1, [7])
    # Nor does the log's own anchor of more entries than there are go with one that was cut off.
    log = usual(4)
    anchor(20, bytes(32))(log)
    assert check(log, held=Held(usual().signed(33))).exit_code == 1


@pytest.mark.parametrize(("minutes", "place"), [(-4, None), (-20, 0)])
def test_witnesses_of_a_kept_checkpoint_show_that_a_log_was_cut_off_and_went_on(check, minutes, place):
    """What the witness saw at 40 entries was there before the 33 of the bundle were written."""
    log, before = usual(), usual(30)
    at = int((log.at + timedelta(minutes=minutes)).timestamp())
    trust = Trust(TRUST.keys, TRUST.receipt_keys, WITNESS_KEYS)
    report = check(log, trust=trust, held=Held(cosigned(before, 40, at)))
    assert (report.first and report.first.place) == place
    assert report.exit_code == (2 if place is None else 1)


@pytest.mark.parametrize("pair", [(5, 20), (4, 33), (33, 33)])
def test_a_proof_of_other_sizes_says_nothing(check, pair):
    log = usual()
    report = check(log, held=Held(log.signed(5), consistency(log, *pair)), start=9)
    assert (report.findings, report.exit_code) == ([], 2)
    assert "the consistency proof from 5 to 33" in report.denied[0]


@pytest.mark.parametrize("given", [[], ["hashes"], 5, "x", {"hashes": 5}, {"hashes": [5]}, {"hashes": None}])
def test_what_is_no_proof_proves_nothing(check, given):
    log = usual()
    assert check(log, held=Held(log.signed(5), given), start=9).exit_code == 1


def test_of_a_checkpoint_of_the_bundles_own_size_the_roots_are_compared(tmp_path):
    log = usual()
    files = picked(log, [0, 7])
    path = written(tmp_path / "one.zip", files, log, records=2, filters={"type": "decision"})
    assert verify(Bundle(path), TRUST, Held(log.signed(33))).exit_code == 0
    assert verify(Bundle(path), TRUST, Held(usual().signed(33))).exit_code == 1


@pytest.mark.parametrize("given", [b"", b"x", usual().signed(9, STOLEN)])
def test_an_older_checkpoint_that_the_log_did_not_sign_cannot_be_compared(check, given):
    report = check(usual(), held=Held(given))
    assert (report.exit_code, len(report.denied)) == (2, 1)


def cosigned(log, size, at, names=("w1", "w2")):
    given = log.signed(size)
    return checkpoint.with_signatures(given, [checkpoint.cosign(given, name, WITNESSES[name], at) for name in names])


@pytest.mark.parametrize(("names", "quorum", "code"), [(("w1", "w2"), 2, 0), (("w1",), 2, 1), ((), 1, 1), ((), 0, 0)])
def test_as_many_witnesses_as_are_required_cosigned(check, names, quorum, code):
    log = usual()
    given = cosigned(log, 33, int(log.at.timestamp()), names)
    trust = Trust(TRUST.keys, TRUST.receipt_keys, WITNESS_KEYS, quorum)
    report = check(log, lambda files: files.update({bundle.CHECKPOINT: given}), trust)
    assert report.exit_code == code
    with pytest.raises(BadNote):
        Trust(TRUST.keys, (), [VerifierKey("w3", KEY.verifier.public, Kind.COSIGNATURE)])


@pytest.mark.parametrize(("minutes", "place"), [(0, None), (20, 9), (-20, 0)])
def test_witnesses_date_what_they_saw(check, minutes, place):
    """Later than it was there: what follows is back-dated. Before: what it saw is post-dated."""
    log = usual()
    at = int((log.at + timedelta(minutes=minutes)).timestamp())
    trust = Trust(TRUST.keys, TRUST.receipt_keys, WITNESS_KEYS)
    report = check(log, lambda files: files.update({bundle.CHECKPOINTS: heads(cosigned(log, 9, at))}), trust)
    assert (report.first and report.first.place) == place
    assert report.exit_code == (place is not None)


def promised(log, leaf=None, ago=timedelta(hours=1), signer=RECEIPTS, identifier=None):
    """For leaf 7, if nothing else is said; so long before the newest entry of the log."""
    members = json.loads(log.bodies[7])
    made = Receipt(ORIGIN, identifier or members["id"], leaf or log.leaf(7), log.at - ago)
    return receipt.signed(made, signer)


ELSEWHERE = "018f0000-0000-7000-8000-000000000000"
GONE = {"identifier": ELSEWHERE, "leaf": bytes(32)}


@pytest.mark.parametrize(
    ("told_as", "code", "what"),
    [
        ({}, 0, ""),
        ({"ago": timedelta(hours=-9)}, 0, ""),
        ({"leaf": bytes(32)}, 1, "is not the entry that the receipt of"),
        (GONE, 1, f"the receipt of {ELSEWHERE} knows an entry, which is not in the log: it was removed"),
        (GONE | {"ago": timedelta(minutes=6, seconds=1)}, 1, "it was removed"),
        (GONE | {"ago": timedelta(minutes=6)}, 2, ""),
        (GONE | {"ago": timedelta(seconds=5)}, 2, ""),
        (GONE | {"ago": timedelta(minutes=-30)}, 2, ""),
        ({"signer": STOLEN}, 1, "a receipt: "),
    ],
)
def test_receipts_are_kept(check, told_as, code, what):
    log = usual()
    report = check(log, held=Held(receipts=[promised(log, **told_as)]))
    assert report.exit_code == code
    assert what in told(report)


def test_of_two_receipts_for_one_entry_none_hides_the_other(check):
    """Two leaves under one id are what tells that the log says different things to different people."""
    log = usual()
    good, lie = promised(log), promised(log, leaf=bytes(32))
    for kept in ([good, lie], [lie, good], [lie, good, lie]):
        report = check(log, held=Held(receipts=kept))
        assert (report.exit_code, places(report), len(report.findings)) == (1, [7], kept.count(lie))
    assert check(log, held=Held(receipts=[good, good])).exit_code == 0
    gone, old = promised(log, **GONE), promised(log, **GONE | {"ago": timedelta(seconds=5)})
    for kept in ([gone, old], [old, gone]):
        report = check(log, held=Held(receipts=kept))
        assert (report.exit_code, len(report.findings), len(report.denied)) == (1, 1, 1)


@pytest.mark.parametrize("part", [{"start": 9}, {"end": 7}, {"size": 7}, {"start": 9, "end": 20}])
def test_a_receipt_for_what_a_part_or_an_older_tree_does_not_have_is_neither_redeemed_nor_broken(check, part):
    """Who hands it in asks about just that entry: `VERIFIED` would be read as a yes."""
    log = usual()
    report = check(log, held=Held(receipts=[promised(log, ago=timedelta(seconds=26))]), **part)
    assert (report.findings, report.exit_code) == ([], 2)
    assert "it is not in the bundle" in report.denied[0]


@pytest.mark.parametrize("part", [{"start": 1}, {"end": 20}])
def test_only_the_whole_log_shows_that_the_entry_of_a_receipt_was_removed(check, part):
    log = usual()
    held = Held(receipts=[promised(log, **GONE)])
    assert check(log, held=held).exit_code == 1
    report = check(log, held=held, **part)
    assert (report.findings, report.exit_code) == ([], 2)


def test_the_time_of_an_export_does_not_date_an_older_tree(check):
    """The bundle is made an hour after the receipt, of a tree from before it."""
    log = usual()
    log.at += timedelta(hours=2)
    log.decide(TWO)
    made = Receipt(ORIGIN, json.loads(log.bodies[-1])["id"], log.leaf(-1), log.at)
    held = Held(receipts=[receipt.signed(made, RECEIPTS)])
    assert check(log, held=held, size=33).exit_code == 2
    log.at += timedelta(hours=1)
    assert check(log, held=held).exit_code == 0
    removed = usual()
    removed.at += timedelta(hours=4)
    removed.decide(TWO)
    assert check(removed, held=held).exit_code == 1


def test_a_receipt_for_what_was_pruned_is_redeemed_by_its_leaf(check):
    log = aged()
    made = Receipt(ORIGIN, json.loads(log.bodies[3])["id"], log.leaf(3), datetime(2015, 10, 2, tzinfo=UTC))
    report = check(log, without(range(6)), held=Held(receipts=[receipt.signed(made, RECEIPTS)]))
    assert (report.findings, report.exit_code) == ([], 0)
    assert "entries that receipts name and that are no longer kept: their leaves are there (1)" in report.unchecked


def high_water(n, leaf, at=None):
    known = {"writer": TWO, "n": n, "leaf": leaf.hex()}
    return Held(high_water=[known if at is None else known | {"at": at}])


def microseconds(at):
    return int(at.timestamp() * 1_000_000)


def test_a_high_water_file_is_ahead_of_a_bundle_unless_the_log_went_on_without_its_entry(check):
    log = usual()
    assert check(log, held=high_water(11, log.leaf(31))).exit_code == 0
    assert check(log, held=high_water(10, log.leaf(29)), size=20).exit_code == 0
    assert check(log, held=high_water(10, log.leaf(29)), end=20).exit_code == 0
    for at in (None, microseconds(log.at), microseconds(log.at - timedelta(minutes=6))):
        report = check(log, held=high_water(12, bytes(32), at))
        assert (report.findings, report.exit_code) == ([], 0)
        assert "entries that openings or high-water files name and that are not in the bundle (1)" in report.unchecked
    report = check(log, held=high_water(12, bytes(32), microseconds(log.at - timedelta(minutes=7))))
    assert "the high-water file knows entry 12 of pdp-2222222222222222, which is not in the log" in told(report)
    assert "is not the entry 11 of" in told(check(log, held=high_water(11, bytes(32))))


# --- records that were picked out --------------------------------------------------------------------------------


def picked(log, chosen):
    size = len(log.bodies)
    tiles = {merkle.Tile(0, 0): b"".join(map(leaf_hash, log.bodies))}
    proofs = [merkle.proof(merkle.inclusion_nodes(place, size), tiles) for place in chosen]
    return {
        bundle.CHECKPOINT: log.signed(size),
        bundle.CHECKPOINTS: b"",
        bundle.PROOFS: b"".join(bundle.proof_line(place, hashes) for place, hashes in zip(chosen, proofs, strict=True)),
        bundle.RECORDS: b"".join(log.bodies[place] + b"\n" for place in chosen),
    }


@pytest.mark.parametrize(
    ("chosen", "spoil", "place"),
    [
        ([0, 7, 9, 32], None, None),
        ([], None, None),
        ([0, 7, 9, 32], lambda files: put(files, [each.replace(b'"deny"', b'"hold"') for each in lines(files)]), 7),
        ([0, 9, 7, 32], None, 7),
        ([0, 7, 7], None, 7),
    ],
)
def test_of_records_that_were_picked_out_each_is_proved_and_nothing_else(tmp_path, chosen, spoil, place):
    log = usual()
    files = picked(log, chosen)
    if spoil:
        spoil(files)
    told_as = {"records": len(chosen), "filters": {"type": "decision"}}
    report = verify(Bundle(written(tmp_path / "one.zip", files, log, **told_as)), TRUST)
    assert (report.first and report.first.place) == place
    assert any(each.startswith("completeness: ") for each in report.unchecked)


def test_a_record_without_a_proof_cannot_be_read(tmp_path):
    log = usual()
    files = picked(log, [0, 7])
    put(files, lines(files, bundle.PROOFS)[:1], bundle.PROOFS)
    with pytest.raises(Unreadable):
        verify(Bundle(written(tmp_path / "one.zip", files, log, records=2, filters={"type": "x"})), TRUST)


# --- the tree beside a range -------------------------------------------------------------------------------------


def test_a_range_with_what_is_beside_it_makes_the_root():
    log = usual(6)
    for size in range(1, len(log.bodies) + 1):
        with pytest.raises(ValueError, match="does not begin"):
            log.frontier(size).extend(merkle.Node(0, size + 1), bytes(32))
    with pytest.raises(ValueError, match="has no leaves"):
        merkle.range_nodes(3, 2, 9)
    empty = Frontier()
    [node] = merkle.range_nodes(0, 0, 1)[1]
    empty.extend(node, log.leaf(0))
    assert empty.root() == log.root(1)


# --- whatever else may be in the files ---------------------------------------------------------------------------


def varied():
    """A log with an entry of each kind that says something of others."""
    log = usual(4)
    anchor(5)(log)
    log.open("pdp-3333333333333333", TWO, [{"writer": TWO, "from": 5, "to": 6, "leaf": "00" * 32}])
    log.add("log_pruned", "registry", actor="a", before="2016-01", first=0, last=3, entries=4)
    return log


SOUND = varied()
OTHER = varied()  # other salts, so nothing of it is the same
PICKED = [2, 3, 5, 7, 9, 11]


def grown():
    """With entries that are younger by far, so that whatever was kept before must be there."""
    log = varied()
    for _ in range(2):
        log.at += timedelta(minutes=20)
        log.decide("pdp-3333333333333333")
    return log


GROWN = grown()


def sound(form, start, end, log=SOUND):
    files = picked(log, PICKED) if form == "picked" else files_of(log, start, end, heads=[4, 6])
    return files | {bundle.CHECKPOINTS: heads(*(log.signed(size) for size in (4, 6, 12)))}


ODD = [None, True, 0, -1, 2**53 - 1, "", "9", "00" * 32, "2016-01", [], [1], {}, {"a": [None]}]


def reworded(data, one, two, odd):
    """One member of a record says something else, perhaps one of its members' members."""
    found = data.split(b"\n")
    at = int(one * (len(found) - 1))
    try:
        inner = outer = json.loads(found[at])
        while isinstance(inner, dict) and inner:
            name = sorted(inner)[int(two * (len(inner) - 1))]
            if not isinstance(inner[name], dict) or odd in (None, 0):
                inner[name] = odd
                break
            inner = inner[name]
        found[at] = entry.canonical(outer)
    except ValueError:
        return data
    return b"\n".join(found)


@st.composite
def spoils(draw):
    """Of bytes others: bits flipped, a stretch cut out, doubled or replaced, something added."""
    kind = draw(st.sampled_from(["flip", "cut", "double", "replace", "add", "line", "member", "member"]))
    one, two, extra = draw(st.floats(0, 1)), draw(st.floats(0, 1)), draw(st.binary(max_size=40))
    odd = draw(st.sampled_from(ODD))

    def spoil(data):
        start, end = sorted((int(one * len(data)), int(two * len(data))))
        if kind == "member":
            return reworded(data, one, two, odd)
        if kind == "flip":
            flipped = bytes([data[start] ^ 1 << len(extra) % 8]) if start < len(data) else b""
            return data[:start] + flipped + data[start + 1 :]
        if kind == "line":  # the lines themselves stay as they are
            parts = data.split(b"\n")
            at, to = int(one * (len(parts) - 1)), int(two * (len(parts) - 1))
            parts.insert(to, parts.pop(at) if len(extra) % 2 else parts[at])
            return b"\n".join(parts)
        middle = {"cut": b"", "double": data[start:end] * 2, "replace": extra, "add": data[start:end] + extra}[kind]
        return data[:start] + middle + data[end:]

    return spoil


PLACES: st.SearchStrategy[Any] = st.sampled_from(
    [-1, 0, 1, 2, 7, 11, 12, 13, 2**31, 2**63 - 1, 2**64, "9", None, 1.5, [], {}]
)
SPOILT = [bundle.RECORDS] * 4 + [bundle.LEAVES, bundle.SUBTREES, bundle.CHECKPOINT, bundle.CHECKPOINTS, bundle.PROOFS]
MEMBERS = st.one_of(
    *[st.just({})] * 5,
    st.fixed_dictionaries({}, optional=dict.fromkeys(["from", "to", "size", "records"], st.integers(0, 13))),
    st.builds(lambda name, value: {name: value}, st.sampled_from(["from", "to", "size", "records", "not_kept"]), PLACES),
    st.sampled_from([
        {"filters": {}}, {"filters": {"a": "b"}}, {"filters": {"a": 1}}, {"filters": [["a", "b"]]}, {"filters": None},
        {"at": ""}, {"at": 1}, {"keys": None}, {"keys": [1]}, {"v": 2}, {"log": "x"}, {"files": []},
        {"files": {"/dev/zero": {"size": -1, "sha256": ""}}}, {"files": {"x": 1}},
    ]),
)  # fmt: skip


EXPORTS = SignerKey(f"{ORIGIN}/export", RECEIPTS.private)


def packed(path, files, told_as, signer=STOLEN):
    """By whoever has no key, if nothing else is said: the manifest fits the files, but for what it is told to say."""
    whole = written(path, files, SOUND, signer=STOLEN)
    with zipfile.ZipFile(whole) as found:
        members = {name: found.read(name) for name in found.namelist()}
    head, _, rest = members[bundle.MANIFEST].partition(b"\n\n")[0].partition(b"\n")
    text = head.decode() + "\n" + json.dumps(json.loads(rest) | told_as) + "\n"
    members[bundle.MANIFEST] = note.sign(text, [signer])
    with zipfile.ZipFile(path, "w") as made:
        for name, data in members.items():
            made.writestr(name, data)
    return path


def as_signed(opened, log=SOUND):
    """Whether each record is the entry that was signed for its place."""
    manifest, _ = opened.manifest()
    data = {name: b"".join(opened.blocks(name)) for name in opened.names}
    records = data[bundle.RECORDS].split(b"\n")[:-1]
    if manifest.is_complete:
        return records == log.bodies[manifest.start : manifest.end]
    places = [json.loads(line)["index"] for line in data[bundle.PROOFS].split(b"\n")[:-1]]
    return records == [log.bodies[place] for place in places]


def test_what_is_spoilt_was_sound(tmp_path):
    for name, start, end in (("whole", 0, 12), ("part", 2, 10)):
        path = packed(tmp_path / "one.zip", sound(name, start, end), {"from": start, "to": end})
        assert verify(Bundle(path), Trust([KEY.verifier])).exit_code == 0
        assert as_signed(Bundle(path))


def last_one(data):
    """Another last entry, which no other names: only the tree tells."""
    return data.replace(b'"entries":4', b'"entries":5')


@st.composite
def logs(draw):
    """Signed as they are: sound, or with an entry that says something else, or is none."""
    kind = draw(st.sampled_from(["sound", "sound", "member", "member", "raw", "gone"]))
    if kind == "sound":
        return SOUND
    made = Log()
    made.at, made.bodies = SOUND.at, list(SOUND.bodies)
    if kind == "member":
        chosen = draw(st.floats(0, 1)), draw(st.floats(0, 1)), draw(st.sampled_from(ODD))
        made.bodies = reworded(b"\n".join(made.bodies), *chosen).split(b"\n")
    else:
        raw = draw(st.binary(max_size=9).filter(lambda body: b"\n" not in body)) if kind == "raw" else b""
        made.bodies[draw(st.integers(0, 11))] = raw
    return made


TIMES = st.one_of(st.none(), st.sampled_from([0, -1, 2**62, -(2**62), int(NOON.timestamp()) * 1_000_000]))
DIGESTS = st.one_of(st.integers(0, 11).map(SOUND.leaf), st.binary(max_size=33), st.just(bytes(32)))


@st.composite
def whatever_held(draw):
    """What somebody may hand in: honest, of another log, spoilt, or nothing of the kind."""
    other = draw(st.sampled_from([SOUND, SOUND, OTHER]))
    size = draw(st.integers(1, 12))
    at = draw(st.sampled_from([0, 1, int(NOON.timestamp()), 2**40, 2**63]))
    old = draw(st.sampled_from([None, b"", other.signed(size), other.signed(size, STOLEN), cosigned(other, size, at)]))
    old = old and draw(st.one_of(st.just(lambda data: data), spoils()))(old)
    pair = sorted((size, draw(st.integers(1, 12))))
    proof = draw(st.sampled_from([None, None, *ODD, consistency(other, *pair), {"old": 1, "new": [], "hashes": ["A"]}]))
    kept = [promised(other, draw(DIGESTS.filter(lambda leaf: len(leaf) == 32)), timedelta(seconds=draw(st.integers(-9, 9999))))
            for _ in range(draw(st.integers(0, 2)))]  # fmt: skip
    marks = [
        {"writer": draw(st.sampled_from([ONE, TWO, "registry", "", "x"])), "n": draw(st.sampled_from([-1, 0, 1, 3, 2**70])),
         "leaf": draw(DIGESTS).hex(), "at": draw(TIMES)}
        for _ in range(draw(st.integers(0, 2)))
    ]  # fmt: skip
    return Held(old, proof, [draw(st.sampled_from([each, each, b"", each[:-9]])) for each in kept], marks)


TRUSTS = [
    Trust([KEY.verifier], receipts, witnesses)
    for receipts in ((), [RECEIPTS.verifier])
    for witnesses in ((), WITNESS_KEYS)
]


@example(
    form=("whole", 0, 12), chosen=[(bundle.RECORDS, last_one)], head=12, fitting=True, members={}, log=SOUND, held=NOTHING,
    trust=TRUSTS[0],
)  # fmt: skip
@given(
    form=st.sampled_from([("whole", 0, 12), ("part", 2, 10), ("picked", 0, 12)]),
    chosen=st.lists(st.tuples(st.sampled_from(SPOILT), spoils()), max_size=2),
    head=st.sampled_from([12, 12, 12, 12, 1, 6, 11]),
    fitting=st.booleans(),
    members=MEMBERS,
    log=logs(),
    held=st.one_of(st.just(NOTHING), whatever_held()),
    trust=st.sampled_from(TRUSTS),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_in_the_files_it_is_read_or_refused_and_never_taken_for_what_was_signed(
    tmp_path, form, chosen, head, fitting, members, log, held, trust
):
    name, start, end = form
    files = sound(name, start, end, log) | {bundle.CHECKPOINT: log.signed(head)}
    for spoilt, spoil in chosen:
        if spoilt in files:
            files[spoilt] = spoil(files[spoilt])
    if fitting and bundle.LEAVES in files:
        files[bundle.LEAVES] = b"".join(map(leaf_hash, lines(files)))
    narrowed = {"records": len(PICKED), "filters": {"type": "decision"}} if name == "picked" else {}
    path = packed(tmp_path / "one.zip", files, {"from": start, "to": end} | narrowed | members, EXPORTS)
    try:
        opened = Bundle(path)
        report = verify(opened, trust, held)
    except Unreadable:
        return
    assert report.exit_code or as_signed(opened, log)


@st.composite
def honestly_held(draw):
    """Of a log that goes on: what is held may be of before the bundle, or after it."""
    places = st.integers(0, len(GROWN.bodies) - 1)
    size = draw(places) + 1
    last = int(datetime.fromisoformat(json.loads(GROWN.bodies[size - 1])["at"]).timestamp())
    old = draw(st.sampled_from([None, GROWN.signed(size), cosigned(GROWN, size, last + 1)]))
    one, two = sorted((draw(places) + 1, draw(st.sampled_from([size, draw(places) + 1]))))
    proof = draw(st.sampled_from([None, consistency(GROWN, one, two)]))
    kept, marks = [], []
    for place in draw(st.lists(places, max_size=3)):
        members = json.loads(GROWN.bodies[place])
        at = datetime.fromisoformat(members["at"])
        kept.append(receipt.signed(Receipt(ORIGIN, members["id"], GROWN.leaf(place), at), RECEIPTS))
        mark = {"writer": members["writer"], "n": members["n"], "leaf": GROWN.leaf(place).hex()}
        marks.append(mark | {"at": draw(st.sampled_from([None, microseconds(at), microseconds(at) + 10**12]))})
    return Held(old, proof, kept, marks)


@given(
    form=st.sampled_from(["whole", "whole", "part", "picked"]),
    sizes=st.tuples(*[st.integers(0, 14)] * 3).map(sorted).filter(lambda three: three[0] < three[1]),
    held=honestly_held(),
    trust=st.sampled_from(TRUSTS),
    tolerance=st.sampled_from([0, 300]),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_a_sound_log_and_what_was_kept_of_it_nothing_is_found(tmp_path, form, sizes, held, trust, tolerance):
    start, end, size = sizes if form == "part" else (0, sizes[1], sizes[1])
    told_as: dict[str, Any] = {}
    if form == "picked":
        start, end, size = 0, len(GROWN.bodies), len(GROWN.bodies)
        files = picked(GROWN, PICKED)
        told_as = {"records": len(PICKED), "filters": {"type": "decision"}}
    else:
        files = files_of(GROWN, start, end, size)
    path = written(tmp_path / "one.zip", files, GROWN, start, end, size, **told_as)
    report = verify(Bundle(path), trust, held, timedelta(seconds=tolerance))
    assert (report.findings, report.exit_code) == ([], 2 if report.denied else 0)


@given(one=st.floats(0, 1), two=st.floats(0, 1), extra=st.binary(max_size=8))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_zip_is_read_or_refused(tmp_path, one, two, extra):
    whole = written(tmp_path / "one.zip", sound("whole", 0, 12), SOUND).read_bytes()
    start, end = sorted((int(one * len(whole)), int(two * len(whole))))
    (tmp_path / "cut.zip").write_bytes(whole[:start] + extra + whole[min(end, start + len(extra)) :])
    try:
        opened = Bundle(tmp_path / "cut.zip")
        report = verify(opened, TRUST)
    except Unreadable:
        return
    assert report.exit_code or as_signed(opened)
