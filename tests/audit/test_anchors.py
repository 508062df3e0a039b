"""Anchors: what was vouched for is logged in turn, once, and a log in which nothing else happens stays as it is."""

import asyncio
import json
import logging
import shutil
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mythos_gate import db, sequencing
from mythos_gate.audit import anchors, checkpoint, cosigning, exchange, note, timestamps, witness
from mythos_gate.audit import sequencer as sequencing_step
from mythos_gate.audit.anchors import Anchoring, Vouching
from mythos_gate.audit.bundle import Bundle
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.cosigning import Cosigning
from mythos_gate.audit.entry import canonical, timestamp, uuid7
from mythos_gate.audit.log import Committer, HighWater
from mythos_gate.audit.note import SignerKey
from mythos_gate.audit.report import Trust
from mythos_gate.audit.verify import verify
from mythos_gate.db import DbRole
from mythos_gate.errors import Misconfigured
from mythos_gate.revision import Known
from mythos_gate.settings import Settings
from mythos_gate.terms import Role
from tests.audit.test_sequencer import ORIGIN, Log, signed
from tests.audit.test_sequencer import sequencing as sequencer
from tests.service import question
from tests.tsa import Authority
from tests.witness import TEXT, Witness

pytestmark = pytest.mark.anyio
openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to be the authority")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(cosigning, "LONGEST_PAUSE", 0)


@pytest.fixture
def log(database):
    return Log(database)


@pytest.fixture
def key():
    return SignerKey(ORIGIN, Ed25519PrivateKey.generate())


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tsa") / "one")


class Beside:
    """The sequencer's process, a second at a time; what it does beside once a minute is asked for."""

    def __init__(self, log, made, task, engine, client, committer):
        self.log, self.made, self.task = log, made, task
        self.engine, self.client, self.committer = engine, client, committer
        self.vouching = Vouching()

    async def second(self):
        await self.made.step()
        if self.task is not None:
            await self.task.round()

    async def minute(self):
        """As a process that has just begun."""
        note_ = self.committer.note if self.vouching.witnesses else None
        made = Anchoring(self.engine, self.client, self.vouching, note_, lambda: True)
        await made.step()
        await self.second()
        return made

    def anchors(self):
        return [body for body in (json.loads(each) for _, each in self.log.placed()) if body.get("type") == "anchor"]


@asynccontextmanager
async def beside(log, folder, key, *witnesses, quorum=None, authority=None):
    async with AsyncExitStack() as stack:
        for each in witnesses:
            await stack.enter_async_context(each.running())
        made = await stack.enter_async_context(sequencer(log, folder, key))
        engine = db.engine(log.database, DbRole.SEQUENCER, 3)
        stack.push_async_callback(engine.dispose)
        client = await stack.enter_async_context(exchange.client())
        connect = lambda: db.connect(log.database, DbRole.SERVICE)  # noqa: E731
        committer = Committer(connect, ORIGIN, HighWater(folder / "writers"), Known())
        stack.push_async_callback(committer.close)
        known = [witness.Witness.parse(each.line) for each in witnesses]
        task = Cosigning(engine, client, known, lambda: True) if known else None
        running = Beside(log, made, task, engine, client, committer)
        running.vouching = Vouching(known, len(known) if quorum is None else quorum, authority)
        yield running


async def test_the_newest_cosigned_head_is_logged_with_who_cosigned(log, tmp_path, key):
    one, two = Witness(key.verifier), Witness(key.verifier, "witness.example/w2")
    async with beside(log, tmp_path, key, one, two) as running:
        log.add(5)
        await running.second()
        revision = log.sql("SELECT n FROM revision")
        await running.minute()
        assert log.sql("SELECT n FROM revision") == revision
        (anchor,) = running.anchors()
    head = signed(log)[0]
    text, _ = note.parts(head)
    times = checkpoint.cosigned(head, [one.verifier, two.verifier])
    parsed = Checkpoint.parse(text)
    assert anchor["checkpoint"] == {
        "size": 5,
        "root": parsed.root.hex(),
        "sha256": sha256(text.encode()).hexdigest(),
    }
    assert [each["name"] for each in anchor["cosigned"]] == [one.name, two.name]
    assert [datetime.fromisoformat(each["time"]).timestamp() for each in anchor["cosigned"]] == [*times.values()]
    assert anchor["timestamp"] is None
    log.verify()


async def test_an_idle_log_stays_as_it_is_and_one_that_goes_on_is_anchored_again(log, tmp_path, key):
    one = Witness(key.verifier)
    async with beside(log, tmp_path, key, one) as running:
        log.add(3)
        await running.second()
        for _ in range(4):
            await running.minute()
        # Three entries, the session's opening and one anchor.
        assert signed(log)[-1].split(b"\n")[1] == b"5"
        assert [each["checkpoint"]["size"] for each in running.anchors()] == [3]
        log.add(1)
        await running.second()
        for _ in range(3):
            await running.minute()
        assert [each["checkpoint"]["size"] for each in running.anchors()] == [3, 6]
        assert signed(log)[-1].split(b"\n")[1] == b"7"
    log.verify()


@pytest.mark.parametrize(
    "said", [{"checkpoint": {"size": 2**52}}, {"checkpoint": {"size": "9"}}, {"checkpoint": None}, {}]
)
async def test_what_another_wrote_is_taken_for_no_anchor(log, tmp_path, key, said):
    """Whoever has the service's login could have the anchoring stop."""
    one = Witness(key.verifier)
    async with beside(log, tmp_path, key, one) as running:
        log.add(3)
        await running.second()
        now = datetime.now(UTC)
        columns = {
            "id": uuid7(now, bytes(10)),
            "at": timestamp(now),
            "type": "anchor",
            "writer": "pdp-fedcba9876543210",
            "n": 1,
        }
        log.insert(columns["id"], now, canonical(columns | said), role=DbRole.SERVICE.value, kind="anchor")
        log.add(1)
        await running.second()
        await running.minute()
        assert [each["checkpoint"]["size"] for each in running.anchors() if "cosigned" in each] == [5]


async def test_a_process_that_anchored_needs_no_look_at_the_log_to_know(log, tmp_path, key, monkeypatch):
    one = Witness(key.verifier)
    async with beside(log, tmp_path, key, one) as running:
        log.add(3)
        await running.second()
        made = await running.minute()
        monkeypatch.setattr(anchors, "LOOKED", 0)
        await made.step()
        log.add(1)
        await running.second()
        await made.step()
        await made.step()
        await running.second()
        assert [each["checkpoint"]["size"] for each in running.anchors()] == [3, 6]


async def test_a_head_is_anchored_if_the_quorum_cosigned_it_and_not_before(log, tmp_path, key):
    one, two = Witness(key.verifier), Witness(key.verifier, "witness.example/w2")
    honest = two.lie
    async with beside(log, tmp_path, key, one, two) as running:
        log.add(3)
        await running.second()
        two.lie = lambda reply: (500, TEXT, b"")
        log.add(3)
        await running.second()
        await running.minute()  # the newest that both have
        assert [each["checkpoint"]["size"] for each in running.anchors()] == [3]
        running.vouching = Vouching(running.vouching.witnesses, 1)
        await running.minute()
        assert [each["name"] for each in running.anchors()[-1]["cosigned"]] == [one.name]
        two.lie = honest
    log.verify()


async def test_without_a_cosigned_head_or_without_witnesses_there_is_no_anchor(log, tmp_path, key):
    one = Witness(key.verifier, lie=lambda reply: (500, TEXT, b""))
    async with beside(log, tmp_path, key, one) as running:
        await running.minute()
        log.add(3)
        await running.second()
        await running.minute()
        assert running.anchors() == []
    async with beside(log, tmp_path, key) as running:
        log.add(3)
        await running.second()
        await running.minute()
        assert running.anchors() == []
    log.verify()


async def test_a_forged_line_in_the_database_is_not_anchored(log, tmp_path, key):
    one = Witness(key.verifier)
    async with beside(log, tmp_path, key, one) as running:
        log.add(3)
        await running.made.step()
        forged = note.signature_line(one.verifier, bytes(72))
        log.sql("UPDATE log_checkpoints SET note = %s", checkpoint.with_signatures(signed(log)[0], [forged]))
        with pytest.raises(note.BadNote):
            await running.minute()
        assert running.anchors() == []


async def test_only_the_process_that_signs_anchors(log, tmp_path, key, monkeypatch):
    monkeypatch.setattr(anchors, "EVERY", 0.05)
    one = Witness(key.verifier)
    async with beside(log, tmp_path, key, one) as running:
        log.add(3)
        await running.second()
        leads = [False]
        made = Anchoring(running.engine, running.client, running.vouching, running.committer.note, lambda: leads[0])
        task = asyncio.create_task(made.run())
        await asyncio.sleep(0.3)
        assert log.sql("SELECT count(*) FROM log_queue") == [(0,)]
        leads[0] = True
        while log.sql("SELECT count(*) FROM log_queue") == [(0,)]:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# --- timestamps -----------------------------------------------------------------------------------------------


@openssl
async def test_a_cosigned_head_is_timestamped_once_and_its_anchor_names_the_token(log, tmp_path, key, authority):
    one = Witness(key.verifier)
    async with authority.running():
        trusted = timestamps.configured(authority.url, authority.certificate)
        async with beside(log, tmp_path, key, one, authority=trusted) as running:
            log.add(3)
            await running.second()
            authority.asked.clear()
            for _ in range(4):
                await running.minute()
            (anchor,) = running.anchors()
    stored = dict(log.sql("SELECT size, token FROM log_timestamps"))
    # The last one covers the anchor; nothing comes after it.
    assert (sorted(stored), len(authority.asked)) == ([3, 5], 2)
    assert anchor["timestamp"] == sha256(stored[3]).hexdigest()
    for signed_, token in zip(signed(log), stored.values(), strict=True):
        text = note.parts(signed_)[0].encode()
        timestamps.verify(token, text, trusted.roots)
        assert authority.verifies(timestamps.response(token), text)


@openssl
async def test_without_witnesses_the_newest_signed_head_is_timestamped(log, tmp_path, key, authority):
    async with authority.running():
        trusted = timestamps.configured(authority.url, authority.certificate)
        async with beside(log, tmp_path, key, authority=trusted) as running:
            log.add(3)
            await running.second()
            await running.minute()
    assert [size for (size,) in log.sql("SELECT size FROM log_timestamps")] == [3]


@openssl
async def test_an_authority_that_fails_is_told_of_and_the_anchor_goes_without(log, tmp_path, key, authority, caplog):
    one = Witness(key.verifier)
    trusted = timestamps.configured("http://127.0.0.1:1/tsr", authority.certificate)
    async with beside(log, tmp_path, key, one, authority=trusted) as running:
        log.add(3)
        await running.second()
        await running.minute()
        (anchor,) = running.anchors()
    assert anchor["timestamp"] is None
    assert ("the head of 3 entries has no timestamp", logging.ERROR) in [
        (each.message.partition(":")[0], each.levelno) for each in caplog.records
    ]


@pytest.mark.parametrize(
    "statement", ["UPDATE log_timestamps SET token = ''", "DELETE FROM log_timestamps", "TRUNCATE log_timestamps"]
)
async def test_a_timestamp_stays_as_it_is(log, tmp_path, key, statement):
    async with sequencer(log, tmp_path, key) as made:
        log.add(1)
        await made.step()
    log.sql("INSERT INTO log_timestamps (size, token) VALUES (1, 'x')")
    with pytest.raises(Exception, match="append-only"):
        log.sql(statement)


# --- all of it --------------------------------------------------------------------------------------------------


async def test_the_sequencers_process_does_all_of_it_and_an_export_is_verified_with_the_witness(
    service, tmp_path, monkeypatch
):
    for module in (cosigning, anchors, sequencing_step):
        monkeypatch.setattr(module, "EVERY", 0.1)
    [signer] = sequencing._signers(service.gate.settings).values()
    one = Witness(signer.verifier)
    async with one.running():
        file = tmp_path / "witnesses"
        file.write_text(one.line)
        process = asyncio.create_task(sequencing._run(service.gate.settings.model_copy(update={"witnesses": file})))
        for _ in range(20):
            await service.ask(question())
        log = Log(service.database)
        while not log.sql("SELECT 1 FROM log_entries e JOIN log_leaves l ON l.id = e.id WHERE e.type = 'anchor'"):
            assert not process.done(), process.exception()
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)  # what was signed last gets its cosignature
        process.cancel()
        await asyncio.gather(process, return_exceptions=True)
    log.verify()
    answer = await service.post("/v1/log/exports", Role.AUDITOR, json={})
    path = tmp_path / "bundle.zip"
    assert answer.status_code == 200, answer.text
    path.write_bytes(answer.content)
    trust = Trust([signer.verifier], [service.gate.receipts.verifier], [one.verifier], 1)
    report = verify(Bundle(path), trust)
    assert (report.findings, report.denied) == ([], [])
    assert any(each.startswith(f"witnesses of the checkpoint: {one.name} at ") for each in report.checked)
    assert log.sql("SELECT count(*) FROM log_entries WHERE type = 'anchor'")[0][0] < 8


# --- what is configured ---------------------------------------------------------------------------------------


def settings(tmp_path, *witnesses, **further):
    file = tmp_path / "witnesses"
    file.write_text("".join(f"{each.line}\n" for each in witnesses))
    return Settings(state=tmp_path, witnesses=file if witnesses else None, **further)


def test_the_quorum_is_all_unless_it_is_set(tmp_path, key):
    two = Witness(key.verifier), Witness(key.verifier, "witness.example/w2")
    assert sequencing.vouching(settings(tmp_path, *two)).quorum == 2
    assert sequencing.vouching(settings(tmp_path, *two, witness_quorum=1)).quorum == 1
    assert sequencing.vouching(settings(tmp_path)).quorum == 0
    with pytest.raises(Misconfigured, match="there are 2 witnesses"):
        sequencing.vouching(settings(tmp_path, *two, witness_quorum=3))


def test_a_timestamp_authority_without_certificates_is_refused(tmp_path):
    with pytest.raises(Misconfigured, match="MYTHOS_GATE_TIMESTAMP_ROOTS"):
        sequencing.vouching(settings(tmp_path, timestamp_url="https://tsa.example"))


def test_anchors_need_the_services_login_in_production(tmp_path, key):
    logins = {"production": True, "sequencer_url": "postgresql://s@db/gate"}
    sequencing._urls(settings(tmp_path, **logins))
    with pytest.raises(Misconfigured, match="MYTHOS_GATE_SERVICE_URL"):
        sequencing._urls(settings(tmp_path, Witness(key.verifier), **logins))
