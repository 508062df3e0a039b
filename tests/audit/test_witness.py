"""Witnesses: who is asked, what is believed of their answers, and that nobody waits for them."""

import asyncio
import json
import logging
import ssl
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mythos_gate import db
from mythos_gate.audit import bundle, checkpoint, cosigning, exchange, merkle, note, sequencer, witness
from mythos_gate.audit.bundle import Bundle
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.cosigning import Cosigning
from mythos_gate.audit.entry import leaf_hash
from mythos_gate.audit.note import SignerKey, VerifierKey
from mythos_gate.audit.report import Trust
from mythos_gate.audit.verify import verify
from mythos_gate.db import DbRole
from mythos_gate.errors import Misconfigured
from tests.audit import bundles
from tests.audit.test_sequencer import ORIGIN, Log, sequencing, signed, unguarded
from tests.service import ENTRY
from tests.witness import SIZE, TEXT, Witness, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def log(database):
    return Log(database)


@pytest.fixture
def key():
    return SignerKey(ORIGIN, Ed25519PrivateKey.generate())


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Who fails is asked again at once."""
    monkeypatch.setattr(cosigning, "LONGEST_PAUSE", 0)


@asynccontextmanager
async def asking(log, *witnesses):
    """Who asks these witnesses in the sequencer's process."""
    engine = db.engine(log.database, DbRole.SEQUENCER, 3)
    async with exchange.client() as client, AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        yield Cosigning(engine, client, [witness.Witness.parse(each.line) for each in witnesses], lambda: True)


@asynccontextmanager
async def cosigned_log(log, folder, key, *witnesses):
    """The sequencer, and who asks these witnesses, which run."""
    async with AsyncExitStack() as stack:
        for each in witnesses:
            await stack.enter_async_context(each.running())
        made = await stack.enter_async_context(sequencing(log, folder, key))
        yield made, await stack.enter_async_context(asking(log, *witnesses))


def cosigners(stored, *witnesses):
    return set(checkpoint.cosigned(stored, [each.verifier for each in witnesses]))


async def test_every_witness_cosigns_one_head_and_its_lines_are_served(log, tmp_path, key):
    one, two = Witness(key.verifier), Witness(key.verifier, "witness.example/w2")
    async with cosigned_log(log, tmp_path, key, one, two) as (made, task):
        for count in (1, 300):
            log.add(count)
            await made.step()
            await task.round()
    for note_ in signed(log):
        assert cosigners(note_, one, two) == {one.name, two.name}
        checkpoint.opened(note_, key.verifier, ORIGIN)
    assert one.asked == two.asked == [(0, 1, 200), (1, 301, 200)]


async def test_heads_in_between_are_skipped_and_no_head_is_asked_for_twice(log, tmp_path, key):
    one = Witness(key.verifier)
    async with cosigned_log(log, tmp_path, key, one) as (made, task):
        for count in (1, 2, 3):
            log.add(count)
            await made.step()
        await task.round()
        await task.round()
    assert one.asked == [(0, 6, 200)]
    assert [cosigners(each, one) for each in signed(log)] == [set(), set(), {one.name}]


async def test_a_witness_that_has_another_size_is_asked_again_from_there(log, tmp_path, key):
    one = Witness(key.verifier)
    async with cosigned_log(log, tmp_path, key, one) as (made, task):
        log.add(70)
        await made.step()
        one.size, one.root = 70, Checkpoint.parse(note.parts(signed(log)[0])[0]).root
        log.add(500)
        await made.step()
        await task.round()
    assert one.asked == [(0, 570, 409), (70, 570, 200)]
    assert cosigners(signed(log)[-1], one) == {one.name}


async def test_a_process_that_starts_knows_from_the_notes_what_a_witness_has(log, tmp_path, key):
    one = Witness(key.verifier)
    async with cosigned_log(log, tmp_path, key, one) as (made, task):
        log.add(3)
        await made.step()
        await task.round()
        log.add(3)
        await made.step()
        async with asking(log, one) as fresh:
            await fresh.round()
    assert one.asked == [(0, 3, 200), (3, 6, 200)]


async def test_a_fork_is_refused_told_and_not_stored(log, tmp_path, key, caplog):
    one = Witness(key.verifier)
    async with cosigned_log(log, tmp_path, key, one) as (made, task):
        log.add(5)
        await made.step()
        await task.round()
        for count, status, why in [(5, 409, "another head of this size"), (3, 422, "does not continue")]:
            for table in ("log_leaves", "log_tiles", "log_checkpoints", "log_queue", "log_entries"):
                unguarded(log, f"DELETE FROM {table}")
            unguarded(log, "UPDATE log_head SET size = 0, root = sha256('')")
            log.writers.clear()
            (tmp_path / "head").unlink(missing_ok=True)
            await made.close()
            async with sequencing(log, tmp_path, key) as forked, asking(log, one) as fresh:
                log.add(count)
                await forked.step()
                await fresh.round()
                if count != 5:
                    log.add(4)
                    await forked.step()
                    await fresh.round()
            assert one.asked[-1][2] == status
            assert why in caplog.text
            assert one.size == 5
            assert all(cosigners(each, one) == set() for each in signed(log))


async def test_a_log_that_was_wound_back_is_told_of(log, tmp_path, key, caplog):
    one = Witness(key.verifier, size=9)
    async with cosigned_log(log, tmp_path, key, one) as (made, task):
        log.add(5)
        await made.step()
        await task.round()
    assert "has seen a log of 9 entries, and this one has 5" in caplog.text
    assert one.asked == [(0, 5, 409)]


# --- what is not believed -------------------------------------------------------------------------------------


def _by(private, text=None, name="witness.example/w1", at=None):
    """A cosignature by another key, of another text, or under another name, in place of the witness's own."""

    def lie(reply):
        made = checkpoint.cosign(text or LAST[0], name, private, int(time.time() if at is None else at))
        return reply[0], reply[1], f"{made}\n".encode()

    return lie


LAST: list[bytes] = []


def _other_text():
    return note.sign(
        Checkpoint(ORIGIN, 3, merkle.EMPTY_ROOT).format(), [SignerKey(ORIGIN, Ed25519PrivateKey.generate())]
    )


def _altered(reply):
    """One bit of the signature."""
    head, _, armoured = reply[2].decode().strip().rpartition(" ")
    value = bytearray(note.from_base64(armoured))
    value[-1] ^= 1
    return reply[0], reply[1], f"{head} {note.base64(bytes(value))}\n".encode()


LIES = {
    "a key that is not its own": (lambda one: _by(Ed25519PrivateKey.generate()), "no line of its key"),
    "another head": (lambda one: _by(one.key, _other_text()), "does not hold"),
    "another name": (lambda one: _by(one.key, name="witness.example/w2"), "no line of its key"),
    "an altered signature": (lambda one: _altered, "does not hold"),
    "tomorrow": (lambda one: _by(one.key, at=time.time() + 86_400), "its clock says +86"),
    "ten minutes ago": (lambda one: _by(one.key, at=time.time() - 600), "its clock says -60"),
    "an ordinary signature of its key": (
        lambda one: lambda r: (200, TEXT, f"{SignerKey(one.name, one.key).line(note.parts(LAST[0])[0])}\n".encode()),
        "no line of its key",
    ),
    "nothing": (lambda one: lambda r: (200, TEXT, b""), "no cosignature of this head"),
    "no line feed": (lambda one: lambda r: (200, TEXT, r[2][:-1]), "no cosignature of this head"),
    "no text": (lambda one: lambda r: (200, TEXT, b"\xff\x00\n"), "no cosignature of this head"),
    "a whole other note": (lambda one: lambda r: (200, TEXT, _other_text()), "no line of its key"),
    "more than anybody has to say": (lambda one: lambda r: (200, TEXT, b"\n" * 70_000), "more than 65536 bytes"),
    "elsewhere": (lambda one: lambda r: (307, TEXT, r[2]), "status 307"),
    "not the log's key": (lambda one: lambda r: (403, TEXT, b""), "does not know the log's key"),
    "not the log": (lambda one: lambda r: (404, TEXT, b""), "does not know the log"),
    "a size that is none": (lambda one: lambda r: (409, SIZE, b"007\n"), "another head of this size"),
    "a size without its type": (lambda one: lambda r: (409, TEXT, b"1\n"), "another head of this size"),
    "a size for ever": (lambda one: lambda r: (409, SIZE, b"1\n"), "another head of this size"),
}


@pytest.mark.parametrize(("lie", "why"), LIES.values(), ids=LIES)
async def test_what_a_witness_says_falsely_is_not_stored(log, tmp_path, key, caplog, lie, why):
    one = Witness(key.verifier)
    async with cosigned_log(log, tmp_path, key, one) as (made, task):
        log.add(3)
        await made.step()
        before = signed(log)
        LAST[:] = before
        one.lie = lie(one)
        await task.round()
        assert signed(log) == before
        assert why in caplog.text
        # And once it is honest, it is heard.
        one.lie = lambda reply: reply
        await task.round()
        assert cosigners(signed(log)[0], one) == {one.name}


async def test_lines_of_unknown_keys_are_left_out(log, tmp_path, key):
    one, stranger = Witness(key.verifier), Witness(key.verifier, "stranger.example/w")
    async with cosigned_log(log, tmp_path, key, one) as (made, task):
        log.add(3)
        await made.step()
        line = checkpoint.cosign(signed(log)[0], stranger.name, stranger.key, int(time.time()))
        one.lie = lambda reply: (reply[0], reply[1], f"{line}\n".encode() + reply[2])
        await task.round()
    assert cosigners(signed(log)[0], one, stranger) == {one.name}
    assert len(note.parts(signed(log)[0])[1]) == 2


async def test_a_line_that_another_stored_meanwhile_stays(log, tmp_path, key):
    one, other = Witness(key.verifier, delay=0.3), Witness(key.verifier, "witness.example/w2")
    async with cosigned_log(log, tmp_path, key, one) as (made, task):
        log.add(3)
        await made.step()
        round_ = asyncio.create_task(task.round())
        await asyncio.sleep(0.1)
        (stored,) = signed(log)
        line = checkpoint.cosign(stored, other.name, other.key, int(time.time()))
        log.sql("UPDATE log_checkpoints SET note = %s", checkpoint.with_signatures(stored, [line]))
        await round_
    assert cosigners(signed(log)[0], one, other) == {one.name, other.name}


# --- nobody waits ---------------------------------------------------------------------------------------------


async def test_a_slow_witness_delays_neither_signing_nor_another_one(log, tmp_path, key, monkeypatch, caplog):
    monkeypatch.setattr(exchange, "TIMEOUT", 1.0)
    slow, quick = Witness(key.verifier, delay=60), Witness(key.verifier, "witness.example/w2")
    async with cosigned_log(log, tmp_path, key, slow, quick) as (made, task):
        log.add(1)
        await made.step()
        started = time.monotonic()
        round_ = asyncio.create_task(task.round())
        while not cosigners(signed(log)[0], quick):
            await asyncio.sleep(0.01)
        for _ in range(3):
            log.add(1)
            await made.step()
        assert time.monotonic() - started < 0.9
        await round_
        assert time.monotonic() - started < 3
        assert len(signed(log)) == 4
    assert "no answer within 1 seconds" in caplog.text


async def test_an_answer_that_drips_is_cut_off(log, tmp_path, key, monkeypatch, caplog):
    monkeypatch.setattr(exchange, "TIMEOUT", 0.5)

    async def drip(reader, writer):
        writer.write(b"HTTP/1.1 200 x\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            writer.write(b"x")
            await asyncio.sleep(0.1)

    one = Witness(key.verifier)
    async with serving(drip) as one.port, sequencing(log, tmp_path, key) as made, asking(log, one) as task:
        log.add(1)
        await made.step()
        started = time.monotonic()
        await task.round()
        assert time.monotonic() - started < 2
    assert "no answer within" in caplog.text


async def test_a_witness_that_was_killed_catches_up_when_it_is_back(log, tmp_path, key, caplog):
    one, two = Witness(key.verifier), Witness(key.verifier, "witness.example/w2")
    async with two.running(), sequencing(log, tmp_path, key) as made:
        async with one.running():
            pass
        async with asking(log, one, two) as task:
            async with one.running():
                log.add(2)
                await made.step()
                await task.round()
            for _ in range(3):
                log.add(2)
                await made.step()
                await task.round()
            assert [cosigners(each, one, two) for each in signed(log)] == [{one.name, two.name}, *[{two.name}] * 3]
            async with one.running():
                await task.round()
    assert one.asked == [(0, 2, 200), (2, 8, 200)]
    assert cosigners(signed(log)[-1], one, two) == {one.name, two.name}
    # Told once, not in every round.
    assert caplog.text.count(f"the witness {one.name} did not cosign") == 1


async def test_who_fails_sits_out_longer_each_time(log, tmp_path, key, monkeypatch):
    monkeypatch.setattr(cosigning, "LONGEST_PAUSE", 30)
    one = Witness(key.verifier, lie=lambda reply: (500, TEXT, b""))
    async with cosigned_log(log, tmp_path, key, one) as (made, task):
        log.add(2)
        await made.step()
        for _ in range(5):
            await task.round()
    assert len(one.asked) == 1


async def test_only_the_process_that_signs_asks(log, tmp_path, key, monkeypatch):
    monkeypatch.setattr(cosigning, "EVERY", 0.01)
    one = Witness(key.verifier)
    async with cosigned_log(log, tmp_path, key, one) as (made, task):
        log.add(2)
        await made.step()
        leads = [False]
        task._leads = lambda: leads[0]
        running = asyncio.create_task(task.run())
        await asyncio.sleep(0.2)
        assert one.asked == []
        leads[0] = True
        while not one.asked:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    "error", [ValueError("a proof"), ssl.SSLError("a handshake"), httpx.InvalidURL("a host"), RuntimeError()], ids=repr
)
async def test_whatever_goes_wrong_with_one_witness_another_cosigns_and_the_alarm_is_raised(
    log, tmp_path, key, monkeypatch, caplog, error
):
    broken, slow = Witness(key.verifier), Witness(key.verifier, "witness.example/w2", delay=0.2)
    ask = witness.cosign

    async def cosign(client, asked, *arguments):
        if asked.name == broken.name:
            raise error
        return await ask(client, asked, *arguments)

    monkeypatch.setattr(witness, "cosign", cosign)
    async with cosigned_log(log, tmp_path, key, broken, slow) as (made, task):
        log.add(2)
        await made.step()
        log.sql("UPDATE log_checkpoints SET at = at - interval '61 seconds'")
        await task.round()
        await task.round()
    assert cosigners(signed(log)[0], broken, slow) == {slow.name}
    assert f"the witness {broken.name} is behind" in caplog.text
    assert caplog.text.count(f"the witness {broken.name} did not cosign: {type(error).__name__}: {error}") == 1


# --- what a cosignature says of time --------------------------------------------------------------------------


async def _take_in_unsigned(made):
    await made._integrate()


async def _take_in_one_of_two(made):
    await made._integrate()
    await made._sign()


OUTAGES = {
    "nothing was taken in": None,
    "all was taken in and nothing signed": (_take_in_unsigned, 5_000),
    "a head was signed on the way": (_take_in_one_of_two, 1),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
async def test_no_head_is_cosigned_that_lacks_what_was_written_long_before(log, tmp_path, monkeypatch, outage):
    """As after an outage: the witness would have seen, now, a log without entries of some minutes ago."""
    key, one, written = bundles.KEY, Witness(bundles.KEY.verifier), bundles.Log()
    written.at = datetime.now(UTC) - timedelta(minutes=10)
    async with cosigned_log(log, tmp_path, key, one) as (made, task):
        written.open(bundles.ONE)
        _insert(log, written.bodies)
        await made.step()
        for _ in range(2):
            written.add("log_read", bundles.ONE, actor="a", rows=1)
        _insert(log, written.bodies[1:])
        if outage is not None:
            take_in, batch = outage
            with monkeypatch.context() as limited:
                limited.setattr(sequencer, "BATCH", batch)
                await take_in(made)
        await task.round()
        assert one.asked == []
        await made.step()
        await task.round()
    assert one.asked == [(0, 3, 200)]
    assert _verified(tmp_path, written, signed(log), one) == []


async def test_a_cosignature_of_a_log_that_lacked_older_entries_is_what_a_verifier_finds(log, tmp_path):
    """Why the above is so: nothing tells such entries from others that were back-dated."""
    key, one, written = bundles.KEY, Witness(bundles.KEY.verifier), bundles.Log()
    written.at = datetime.now(UTC) - timedelta(minutes=10)
    async with cosigned_log(log, tmp_path, key, one) as (made, task):
        written.open(bundles.ONE)
        _insert(log, written.bodies)
        await made.step()
        await task.round()
        written.add("log_read", bundles.ONE, actor="a", rows=1)
        _insert(log, written.bodies[1:])
        await made.step()
    [finding] = _verified(tmp_path, written, signed(log), one)
    assert "it is back-dated" in finding.what


async def test_what_is_refused_or_has_just_been_written_keeps_nobody_from_cosigning(log, tmp_path, key):
    one = Witness(key.verifier)
    async with cosigned_log(log, tmp_path, key, one) as (made, task):
        log.add(1)
        await made.step()
        log.add(1)
        log.sql("INSERT INTO log_queue (entry_id, at, refused) VALUES (gen_random_uuid(), now() - interval '1 h', 'x')")
        await task.round()
    assert one.asked == [(0, 1, 200)]


async def test_a_process_that_starts_after_an_outage_does_not_call_a_witness_late_that_is_not(
    log, tmp_path, key, caplog
):
    one = Witness(key.verifier)
    async with cosigned_log(log, tmp_path, key, one) as (made, task):
        log.add(2)
        await made.step()
        await task.round()
        log.sql("UPDATE log_checkpoints SET at = at - interval '1 hour'")
        log.sql("INSERT INTO log_queue (entry_id, at) VALUES (gen_random_uuid(), now() - interval '1 h')")
        async with asking(log, one) as fresh:
            await fresh.round()
    assert "behind" not in caplog.text


def _insert(log, bodies):
    for body in bodies:
        members = json.loads(body)
        log.sql(
            ENTRY,
            *(members[name] for name in ("id", "at", "type", "writer", "n")), leaf_hash(body), body,
        )  # fmt: skip


def _verified(folder, written, notes, *witnesses):
    """What is found in a bundle of the whole log with these heads."""
    files = bundles.files_of(written) | {
        bundle.CHECKPOINT: notes[-1],
        bundle.CHECKPOINTS: bundle.checkpoint_lines(notes),
    }
    path = bundles.written(folder / "bundle.zip", files, written)
    trust = Trust(bundles.TRUST.keys, bundles.TRUST.receipt_keys, [each.verifier for each in witnesses])
    return verify(Bundle(path), trust).findings


# --- behind ---------------------------------------------------------------------------------------------------


async def states(log, *witnesses):
    engine = db.engine(log.database, DbRole.READER, 1)
    async with engine.connect() as connection:
        found = await cosigning.states(connection, [witness.Witness.parse(each.line) for each in witnesses])
    await engine.dispose()
    return {each.name: (each.size, each.behind) for each in found}


async def test_a_witness_that_falls_behind_is_told_once_and_shown_and_so_is_its_return(log, tmp_path, key, caplog):
    one, two = Witness(key.verifier), Witness(key.verifier, "witness.example/w2")
    async with cosigned_log(log, tmp_path, key, one, two) as (made, task):
        log.add(2)
        await made.step()
        await task.round()
        honest, one.lie = one.lie, lambda reply: (500, TEXT, b"")
        log.add(2)
        await made.step()
        await task.round()
        assert await states(log, one, two) == {one.name: (2, False), two.name: (4, False)}
        assert "behind" not in caplog.text
        log.sql("UPDATE log_checkpoints SET at = at - interval '61 seconds'")
        for _ in range(3):
            await task.round()
        assert await states(log, one, two) == {one.name: (2, True), two.name: (4, False)}
        behind = [each for each in caplog.records if "is behind" in each.message]
        assert [(each.levelno, one.name in each.message) for each in behind] == [(logging.ERROR, True)]
        one.lie = honest
        one.size, one.root = 2, Checkpoint.parse(note.parts(signed(log)[0])[0]).root
        await task.round()
        await task.round()
        assert await states(log, one, two) == {one.name: (4, False), two.name: (4, False)}
        assert caplog.text.count("has caught up") == 1


async def test_a_witness_that_never_cosigned_is_behind_and_one_of_an_empty_log_is_not(log, tmp_path, key):
    one = Witness(key.verifier)
    assert await states(log, one) == {one.name: (None, False)}
    async with sequencing(log, tmp_path, key) as made:
        log.add(2)
        await made.step()
    log.sql("UPDATE log_checkpoints SET at = at - interval '61 seconds'")
    assert await states(log, one) == {one.name: (None, True)}


async def test_an_idle_log_makes_nobody_late(log, tmp_path, key, caplog):
    one = Witness(key.verifier)
    async with cosigned_log(log, tmp_path, key, one) as (made, task):
        log.add(2)
        await made.step()
        await task.round()
        log.sql("UPDATE log_checkpoints SET at = at - interval '1 day'")
        async with asking(log, one) as fresh:  # as after a restart
            await fresh.round()
    assert await states(log, one) == {one.name: (2, False)}
    assert "behind" not in caplog.text


async def test_a_line_in_the_database_that_does_not_hold_counts_for_nothing(log, tmp_path, key):
    one = Witness(key.verifier)
    async with sequencing(log, tmp_path, key) as made:
        log.add(2)
        await made.step()
    forged = note.signature_line(one.verifier, bytes(72))
    log.sql("UPDATE log_checkpoints SET note = %s", checkpoint.with_signatures(signed(log)[0], [forged]))
    assert await states(log, one) == {one.name: (None, False)}


# --- the file -------------------------------------------------------------------------------------------------


def _key(name="w.example/1", kind=note.Kind.COSIGNATURE, public=bytes(32)):
    return VerifierKey(name, public, kind).text


def test_the_file_has_a_line_for_each_witness(tmp_path):
    file = tmp_path / "witnesses"
    two = _key("w.example/2", public=bytes(31) + b"1")
    file.write_text(f"# ours\n\n  {_key()} https://w.example/a/\n{two}\thttp://[::1]:80\n")
    assert [(each.name, each.url) for each in witness.read(file)] == [
        ("w.example/1", "https://w.example/a/"),
        ("w.example/2", "http://[::1]:80"),
    ]


BAD = {
    "no key": ("https://w.example", "a line is a verifier key and a URL"),
    "no URL": (_key(), "a line is a verifier key and a URL"),
    "three words": (f"{_key()} https://w.example two", "a line is a verifier key and a URL"),
    "a key that is none": ("w.example+00000000+AAAA https://w.example", "line 1"),
    "a log's key": (f"{_key(kind=note.Kind.ED25519)} https://w.example", "of type 4, this one of 1"),
    "plain http elsewhere": (f"{_key()} http://w.example", "is https"),
    "http to what looks like this machine": (f"{_key()} http://localhost.example", "is https"),
    "http to a name of this machine's network": (f"{_key()} http://10.0.0.1", "is https"),
    "another scheme": (f"{_key()} ftp://localhost", "is https"),
    "no host": (f"{_key()} https:///a", "is like https://"),
    "a user": (f"{_key()} https://me:it@w.example", "is like https://"),
    "a query": (f"{_key()} https://w.example/?a", "is like https://"),
    "a port that is none": (f"{_key()} https://w.example:99999", "line 1"),
    "one name twice": (f"{_key()} https://a.example\n{_key(public=bytes(31) + b'1')} https://b.example", "same name"),
    "one key twice": (f"{_key()} https://a.example\n{_key('w.example/2')} https://b.example", "same key"),
    "nobody": ("# none yet\n", "names no witness"),
}


@pytest.mark.parametrize(("text", "why"), BAD.values(), ids=BAD)
def test_a_file_that_cannot_be_meant_is_refused_at_the_start(tmp_path, text, why):
    file = tmp_path / "witnesses"
    file.write_text(text)
    with pytest.raises(Misconfigured, match=why.replace("?", r"\?")):
        witness.read(file)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "witnesses").write_bytes(content)
    with pytest.raises(Misconfigured, match="cannot be read"):
        witness.read(tmp_path / "witnesses")


def test_the_mark_of_a_witness_begins_each_of_its_lines():
    for number in range(64):
        made = Witness(VerifierKey(ORIGIN, bytes(32)))
        parsed = replace(witness.Witness.parse(f"{made.verifier.text} https://w.example"))
        line = checkpoint.cosign(_other_text(), made.name, made.key, number << 40)
        assert f"\n{line}".encode().startswith(parsed.mark)
