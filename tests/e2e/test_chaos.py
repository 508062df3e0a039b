"""The log under faults: processes and the database are killed while decisions and changes are made; then every answer
is accounted for: each decision that was answered is in the tree once, with a proof that holds."""

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
from contextlib import suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from mythos_gate import db, embedded, sequencing
from mythos_gate.audit import tlogproof
from mythos_gate.audit.entry import leaf_hash
from mythos_gate.audit.note import VerifierKey
from mythos_gate.settings import Settings
from mythos_gate.terms import Role
from tests.audit.test_sequencer import Log
from tests.e2e.test_workers import children
from tests.service import DIGEST_KEY, Service, question

pytestmark = [pytest.mark.anyio, pytest.mark.integration]
ROUNDS = 14


class Host:
    """A machine: `serve` with two workers and a sequencer, its own state; the log's keys are shared."""

    def __init__(self, url: str, folder: Path, keys: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.environment = os.environ | {
            "DATABASE_URL": url,
            "MYTHOS_GATE_STATE": str(folder),
            "MYTHOS_GATE_LOG_KEYS": str(keys),
            "MYTHOS_GATE_DIGEST_KEY": DIGEST_KEY,
        }
        self.process = self.start()

    def start(self):
        command = [sys.executable, "-m", "mythos_gate", "serve", "--port", str(self.port), "--workers", "2"]
        with (self.folder / "errors").open("ab") as errors:
            self.process = subprocess.Popen(command, env=self.environment, stderr=errors)
        return self.process

    def kill(self):
        """The first process alone: the others must notice."""
        self.process.kill()
        self.process.wait(20)

    def end(self):
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
                    assert answer.status_code in {401, 503}, answer.text
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
                    if answer.status_code == 201:
                        self.changed.add(answer.json()["id"])
                except httpx.HTTPError:
                    pass
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
    try:
        await _are_up(hosts)
        tasks = [asyncio.create_task(clients.ask(number)) for number in range(6)]
        tasks.append(asyncio.create_task(clients.change()))
        faults = [_kill_a_process, _kill_a_process, _kill_a_host, _halt_a_process, _kill_the_database, _cut_connections]
        for number in range(ROUNDS):
            await asyncio.sleep(0.7)
            await faults[number % len(faults)](hosts, state, url)
        await _are_up(hosts)
        await asyncio.sleep(1)
        clients.stopping = True
        await asyncio.gather(*tasks)
        await _is_taken_in(url)
        await _account(clients, hosts[0], url, next(iter(sequencing._signers(settings).values())).verifier)
    finally:
        clients.stopping = True
        for host in hosts:
            host.end()
    assert len(clients.decided) > 200, (len(clients.decided), clients.refused)
    assert clients.refused > 0


async def _are_up(hosts):
    async with httpx.AsyncClient(timeout=2) as client:
        for host in hosts:
            for _ in range(600):
                if host.process.poll() is not None:
                    host.start()
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
        if host.process.poll() is not None:  # it was started without a database: what runs it starts it again
            host.start()
        if found := sorted(children(host.process)):
            return random.choice(found)
        await asyncio.sleep(0.1)
    raise AssertionError("it has no processes")


async def _kill_a_process(hosts, state, url):
    for host in hosts:
        os.kill(await _some_process(host), signal.SIGKILL)


async def _kill_a_host(hosts, state, url):
    host = random.choice(hosts)
    left = children(host.process)
    host.kill()
    for _ in range(100):
        if not any(Path(f"/proc/{each}").exists() for each in left):
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("processes outlive the first one")
    host.start()


async def _halt_a_process(hosts, state, url):
    """A leader may stand still while another takes over, and go on as if nothing had been."""
    for host in hosts:
        halted = await _some_process(host)
        os.kill(halted, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(2, _go_on, halted)


def _go_on(process):
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


async def _kill_the_database(hosts, state, url):
    pid = int((next(state.glob("data-*")) / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.3)
    for _ in range(50):
        try:
            await asyncio.to_thread(embedded.start, state)
        except RuntimeError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the database does not come back")


async def _cut_connections(hosts, state, url):
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


async def _is_taken_in(url):
    for _ in range(300):
        try:
            with psycopg.connect(url) as owner:
                if owner.execute("SELECT count(*) FROM log_queue").fetchone() == (0,):
                    return
        except psycopg.OperationalError:
            pass
        await asyncio.sleep(0.1)
    raise AssertionError("the queue is not taken in")


async def _account(clients: Clients, host: Host, url: str, key: VerifierKey) -> None:
    log = Log(url)
    log.verify()
    bodies = [json.loads(body) for _, body in log.placed()]
    ids = [body["id"] for body in bodies]
    assert len(ids) == len(set(ids))
    decided = {body["id"]: body for body in bodies if body["type"] == "decision"}
    assert clients.decided <= decided.keys()
    assert clients.changed <= {body["stop"] for body in bodies if body["type"] == "stop_set"}
    await asyncio.sleep(1.5)
    headers = {"Authorization": f"Bearer {clients.keys[Role.AUDITOR]}"}
    stored = {json.loads(body)["id"]: body for _, body in log.placed()}
    async with httpx.AsyncClient(headers=headers, timeout=10) as client:
        for decision in random.sample(sorted(clients.decided), 50):
            proof = tlogproof.Proof.parse((await client.get(f"{host.url}/v1/log/entries/{decision}/proof")).content)
            tlogproof.verify(proof, leaf_hash(stored[decision]), key, "mythos-gate.local/log")


@pytest.fixture
def unused_tcp_port_pair():

    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
