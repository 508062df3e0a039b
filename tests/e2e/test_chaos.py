"""The log under faults: processes and the database are killed, transactions commit late and a clock is stepped while
decisions and changes are made; then every answer is accounted for: each decision that was answered is in the tree once,
with a proof that holds, and an export of all of it is verified without a finding."""

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from mythos_gate import db, embedded, revision, sequencing
from mythos_gate.audit import tlogproof
from mythos_gate.audit.bundle import Bundle
from mythos_gate.audit.entry import leaf_hash
from mythos_gate.audit.log import Committer, HighWater
from mythos_gate.audit.report import Held, Trust
from mythos_gate.audit.verify import verify
from mythos_gate.db import DbRole
from mythos_gate.revision import Known
from mythos_gate.settings import Settings
from mythos_gate.terms import Role
from tests.audit.test_sequencer import Log
from tests.e2e.test_workers import children
from tests.service import DIGEST_KEY, Service, question

pytestmark = [pytest.mark.anyio, pytest.mark.integration]
ROUNDS = 18
STEP = 90  # seconds: more than a gate trusts, and less than a verifier tolerates
AWAY = 3.0  # seconds without a database
LATE = 3.0  # seconds from an entry to its commit


class Host:
    """A machine: `serve` with two workers and a sequencer, its own state and clock; the log's keys are shared."""

    def __init__(self, url: str, folder: Path, keys: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.steps = cycle([STEP, -STEP, 0])
        self.step(0)
        self.environment = os.environ | {
            "DATABASE_URL": url,
            "MYTHOS_GATE_STATE": str(folder),
            "MYTHOS_GATE_LOG_KEYS": str(keys),
            "MYTHOS_GATE_DIGEST_KEY": DIGEST_KEY,
            "STEPPED_BY": str(folder / "step"),
        }
        self.process = self.start()

    def start(self):
        program = Path(__file__).with_name("stepped_clock.py")
        command = [sys.executable, str(program), "serve", "--port", str(self.port), "--workers", "2"]
        with (self.folder / "errors").open("ab") as errors:
            self.process = subprocess.Popen(command, env=self.environment, stderr=errors)
        return self.process

    def kill(self):
        """The first process alone: the others must notice."""
        self.process.kill()
        self.process.wait(20)

    def step(self, seconds: int) -> None:
        """Where its clock is from now on."""
        new = self.folder / "step.new"
        new.write_text(str(seconds))
        new.rename(self.folder / "step")

    def check(self):
        """No fault but our own ends the first process."""
        assert self.process.poll() is None, (self.folder / "errors").read_text()[-10_000:]

    @property
    def high_water(self):
        kept = [each.read_text() for each in (self.folder / "writers").iterdir()]
        return [known for text in kept if text and (known := json.loads(text))]

    def end(self):
        if self.process.poll() is None:
            for each in children(self.process):
                _go_on(each)
        self.process.terminate()
        self.process.wait(30)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


class Clients:
    """They ask and change without end, and remember what was answered."""

    def __init__(self, urls, keys):
        self.urls, self.keys = urls, keys
        self.decided: set[str] = set()
        self.changed: set[str] = set()
        self.refused = 0
        self.stopping = False

    async def ask(self, number):
        headers = {"Authorization": f"Bearer {self.keys[Role.GATEWAY]}"}
        async with httpx.AsyncClient(timeout=8) as client:
            while not self.stopping:
                url = random.choice(self.urls)
                try:
                    answer = await client.post(
                        f"{url}/access/v1/evaluation",
                        json=question(f"acme/{'us' if number % 2 else 'ca'}"),
                        headers=headers,
                    )
                except httpx.HTTPError:
                    self.refused += 1
                    await asyncio.sleep(0.05)
                    continue
                if answer.status_code == 200:
                    self.decided.add(answer.json()["context"]["id"])
                else:
                    assert answer.status_code == 503, answer.text
                    self.refused += 1
                    await asyncio.sleep(0.05)

    async def change(self):
        headers = {"Authorization": f"Bearer {self.keys[Role.COMPLIANCE]}"}
        async with httpx.AsyncClient(timeout=8) as client:
            for number in range(10**6):
                if self.stopping:
                    return
                stop = {"scope": "endpoint", "target": "acme/ep-1", "incident": f"i-{number}"}
                try:
                    answer = await client.post(f"{random.choice(self.urls)}/v1/stops", json=stop, headers=headers)
                except httpx.HTTPError:
                    pass
                else:
                    assert answer.status_code in {201, 503}, answer.text
                    if answer.status_code == 201:
                        self.changed.add(answer.json()["id"])
                await asyncio.sleep(0.1)


@pytest.fixture
def state():
    folder = Path(tempfile.mkdtemp(prefix="mgc-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        embedded.stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


async def test_nothing_answered_is_lost_or_doubled(state, unused_tcp_port_pair):
    url = embedded.start(state)
    db.upgrade(url)
    keys = state / "keys"
    settings = Settings(database_url=url, state=state / "first", log_keys=keys, digest_key=DIGEST_KEY)
    sequencing.make_keys(settings)
    async with Service.running(url, state / "first", log_keys=keys) as service:
        await service.prepare()
        await service.load_programme()
        roles = dict(service.keys)
    hosts = []
    for port, name in zip(unused_tcp_port_pair, ("first", "second"), strict=True):
        (state / name).mkdir(exist_ok=True)
        hosts.append(Host(url, state / name, keys, port))
    clients = Clients([host.url for host in hosts], roles)
    site = Site(url, state, hosts)
    try:
        await _are_up(hosts)
        tasks = [asyncio.create_task(clients.ask(number)) for number in range(6)]
        tasks.append(asyncio.create_task(clients.change()))
        for number in range(ROUNDS):
            await asyncio.sleep(0.7)
            await FAULTS[number % len(FAULTS)](site)
        await _are_up(hosts)
        await asyncio.sleep(1)
        clients.stopping = True
        await asyncio.gather(*tasks)
        high_water = [each for host in hosts for each in host.high_water]
        await _is_taken_in(url)
        receipts = sequencing.receipt_signer(settings)
        assert receipts is not None
        trust = Trust([key.verifier for key in sequencing._signers(settings).values()], [receipts.verifier])
        await _account(clients, site, trust)
        await _verify_all(clients, site, trust, [*high_water, *site.late])
    finally:
        clients.stopping = True
        for host in hosts:
            host.end()
    assert len(clients.decided) > 200, (len(clients.decided), clients.refused)
    assert clients.refused > 0
    assert [host.process.returncode for host in hosts] == [0, 0]


@dataclass
class Site:
    """What faults befall."""

    url: str
    state: Path
    hosts: Sequence[Host]
    late: list[Mapping[str, Any]] = field(
        default_factory=list
    )  # `{writer, n, leaf}` of entries that were committed late
    kept: list[bytes] = field(default_factory=list)  # notes, as an auditor fetched them


async def _are_up(hosts):
    async with httpx.AsyncClient(timeout=2) as client:
        for host in hosts:
            for _ in range(600):
                host.check()
                try:
                    if (await client.get(f"{host.url}/health/ready")).status_code == 200:
                        break
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.1)
            else:
                raise AssertionError((host.folder / "errors").read_text())


async def _some_process(host):
    """A worker or the sequencer, whichever it is."""
    for _ in range(600):
        host.check()
        if found := sorted(children(host.process)):
            return random.choice(found)
        await asyncio.sleep(0.1)
    raise AssertionError("it has no processes")


async def _kill_a_process(site):
    for host in site.hosts:
        os.kill(await _some_process(host), signal.SIGKILL)


async def _kill_a_host(site):
    host = random.choice(site.hosts)
    left = children(host.process)
    host.kill()
    for _ in range(100):
        if not any(Path(f"/proc/{each}").exists() for each in left):
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("processes outlive the first one")
    host.start()
    await _are_up([host])  # who starts a gate sees to it that there is a database


async def _halt_a_process(site):
    """A leader may stand still while another takes over, and go on as if nothing had been."""
    for host in site.hosts:
        halted = await _some_process(host)
        os.kill(halted, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(2, _go_on, halted)


def _go_on(process):
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


async def _kill_the_database(site):
    """For longer than a process takes that is started meanwhile."""
    pid = int((next(site.state.glob("data-*")) / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    await _kill_a_process(site)
    await asyncio.sleep(AWAY)
    for _ in range(50):
        try:
            await asyncio.to_thread(embedded.start, site.state)
        except RuntimeError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the database does not come back")


async def _cut_connections(site):
    with psycopg.connect(site.url, autocommit=True) as owner:
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


async def _commit_late(site):
    """Entries whose numbers and times are before those of others, and which nobody sees until these have places."""
    connection = await db.connect(site.url, DbRole.SERVICE)

    async def connect():
        return connection

    high_water = HighWater(site.state / "late")
    known = Known()
    known.hear(known.sends(), await connection.fetchrow(revision.HEAR, *known.asks()))
    late = Committer(connect, Settings().origin, high_water, known)
    try:
        await connection.execute("BEGIN")
        await late.note("log_read", {"actor": "late", "from": 0, "rows": 1})
        await asyncio.sleep(LATE)
        await connection.execute("COMMIT")
        site.late.append(high_water.read())
    finally:
        await late.close()


async def _step_a_clock(site):
    host = site.hosts[1]
    host.step(next(host.steps))


async def _keep_a_checkpoint(site):
    site.kept += [note for (note,) in Log(site.url).sql("SELECT note FROM log_checkpoints ORDER BY size DESC LIMIT 1")]


FAULTS = [
    _kill_a_process,
    _step_a_clock,
    _commit_late,
    _kill_a_host,
    _step_a_clock,
    _halt_a_process,
    _keep_a_checkpoint,
    _kill_the_database,
    _cut_connections,
]


async def _is_taken_in(url):
    """And signed."""
    for _ in range(300):
        try:
            with psycopg.connect(url) as owner:
                signed = "SELECT size = (SELECT max(size) FROM log_checkpoints) FROM log_head"
                if owner.execute(f"SELECT count(*), ({signed}) FROM log_queue").fetchone() == (0, True):
                    return
        except psycopg.OperationalError:
            pass
        await asyncio.sleep(0.1)
    raise AssertionError("the queue is not taken in")


async def _account(clients: Clients, site: Site, trust: Trust) -> None:
    log = Log(site.url)
    log.verify()
    stored = {json.loads(body)["id"]: body for _, body in log.placed()}
    bodies = [json.loads(body) for body in stored.values()]
    assert len(log.placed()) == len(stored)
    decided = {body["id"]: body for body in bodies if body["type"] == "decision"}
    assert clients.decided <= decided.keys()
    assert clients.changed <= {body["stop"] for body in bodies if body["type"] == "stop_set"}
    _account_for_the_late(bodies, site)
    assert any("CLOCK_UNTRUSTED" in each["reasons"] for each in decided.values())
    assert any("CLOCK_UNTRUSTED" not in each["reasons"] for each in decided.values())
    headers = {"Authorization": f"Bearer {clients.keys[Role.AUDITOR]}"}
    async with httpx.AsyncClient(headers=headers, timeout=10) as client:
        for decision in random.sample(sorted(clients.decided), 50):
            answer = await client.get(f"{site.hosts[0].url}/v1/log/entries/{decision}/proof")
            proof = tlogproof.Proof.parse(answer.content)
            tlogproof.verify(proof, leaf_hash(stored[decision]), trust.keys[0], trust.origin)


def _account_for_the_late(bodies, site):
    """Each is there, after what was written and placed while its transaction was open."""
    places = [place for place, body in enumerate(bodies) if body.get("actor") == "late"]
    assert {bodies[place]["writer"] for place in places} == {each["writer"] for each in site.late}
    assert len(places) == len(site.late) > 1
    for place in places:
        written = datetime.fromisoformat(bodies[place]["at"])
        behind = [each for each in bodies[:place] if each["type"] == "decision"][-1]
        assert datetime.fromisoformat(behind["at"]) > written + timedelta(seconds=LATE / 2)


async def _verify_all(clients: Clients, site: Site, trust: Trust, high_water) -> None:
    headers = {"Authorization": f"Bearer {clients.keys[Role.AUDITOR]}"}
    async with httpx.AsyncClient(headers=headers, timeout=30) as client:
        answer = await client.post(f"{site.hosts[0].url}/v1/log/exports", json={})
    assert answer.status_code == 200, answer.text
    path = site.state / "bundle.zip"
    path.write_bytes(answer.content)
    for kept in site.kept:
        report = verify(Bundle(path), trust, Held(kept, high_water=high_water))
        assert (report.findings, report.denied, report.exit_code) == ([], [], 0)
        assert report.leaves >= len(clients.decided)
    assert site.kept
    assert high_water


@pytest.fixture
def unused_tcp_port_pair():

    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
