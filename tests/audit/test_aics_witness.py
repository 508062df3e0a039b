"""A witness that is not ours (aics-witness, of PyPI) cosigns what the gate signs, and refuses another log of its name."""

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mythos_gate import db
from mythos_gate.audit import checkpoint, cosigning, exchange, merkle, note, tree, witness
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.cosigning import Cosigning
from mythos_gate.audit.note import SignerKey
from mythos_gate.audit.witness import Witness
from mythos_gate.db import DbRole
from tests import postgres
from tests.audit.test_sequencer import ORIGIN, Log, sequencing, signed

pytestmark = [pytest.mark.integration, pytest.mark.anyio]
REQUIREMENTS = Path(__file__).parent / "independent" / "aics.txt"
NAMES = ("python3.12", "python3.13", "python3.14")


def _works(python: str | None) -> bool:
    """Whether it is there and new enough: a shim may be a name for nothing."""
    code = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))"
    return python is not None and subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def _python() -> str:
    """A Python 3.12 or later: on the path, of pyenv, or from the system's packages."""
    versions = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found = [shutil.which(name) for name in NAMES]
    found += [str(each) for name in NAMES for each in sorted(versions.glob(f"*/bin/{name}"))]
    for each in found:
        if each is not None and _works(each):
            return each
    if shutil.which("apt-get") and os.geteuid() == 0:
        for version in ("3.12", "3.13", "3.14"):
            packages = [f"python{version}", f"python{version}-venv"]
            for command in (["update", "-q"], ["install", "-qy", "--no-install-recommends", *packages]):
                subprocess.run(["apt-get", "-o", "DPkg::Lock::Timeout=300", *command], capture_output=True, check=False)
            if _works(installed := shutil.which(f"python{version}")):
                return str(installed)
    pytest.skip("aics-witness needs Python 3.12 or later, and there is none here, of pyenv or in the system's packages")


@pytest.fixture(scope="module")
def aics(tmp_path_factory) -> str:
    """The program, pinned, in an environment of its own."""
    folder = tmp_path_factory.mktemp("aics")
    subprocess.run([_python(), "-m", "venv", folder], check=True)
    install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    subprocess.run([folder / "bin" / "python", *install, "-r", REQUIREMENTS], check=True)
    return str(folder / "bin" / "aics-witness")


class Other:
    """It keeps its state in its folder, over each of its processes."""

    def __init__(self, program, folder, key):
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self._program, self._configuration = program, folder / "witness.json"
        named = ["--name", "aics.example/w1", "--listen", self.url.removeprefix("http://")]
        key_text = self._run("init", *named).strip().splitlines()[-1]
        self._run("add-log", "--origin", ORIGIN, "--vkey", key.verifier.text)
        self.witness = Witness.parse(f"{key_text} {self.url}")

    def _run(self, command, *options):
        done = [self._program, command, "--config", str(self._configuration), *options]
        return subprocess.run(done, capture_output=True, check=True, text=True).stdout

    @contextmanager
    def running(self):
        process = subprocess.Popen(
            [self._program, "serve", "--config", str(self._configuration)], stderr=subprocess.DEVNULL
        )
        try:
            for _ in range(200):
                try:
                    httpx.get(self.url, timeout=1)
                    break
                except httpx.TransportError:
                    assert process.poll() is None
                    time.sleep(0.05)
            yield self
        finally:
            process.kill()
            process.wait()

    def state(self):
        [found] = json.loads(self._run("status", "--json"))["logs"]
        return found["size"], found["root"]

    def evidence(self):
        return [each["reason"] for each in json.loads(self._run("evidence"))]


@pytest.fixture
def key():
    return SignerKey(ORIGIN, Ed25519PrivateKey.generate())


@pytest.fixture
def log(database):
    return Log(database)


@pytest.fixture
def other(aics, tmp_path, key, monkeypatch):
    monkeypatch.setattr(cosigning, "LONGEST_PAUSE", 0)
    return Other(aics, tmp_path / "aics", key)


async def round_(log, *witnesses):
    engine = db.engine(log.database, DbRole.SEQUENCER, 3)
    try:
        async with exchange.client() as client:
            await Cosigning(engine, client, witnesses, lambda: True).round()
    finally:
        await engine.dispose()


async def grow(log, folder, key, *counts, witnesses=()):
    async with sequencing(log, folder, key) as made:
        for count in counts:
            log.add(count)
            await made.step()
            await round_(log, *witnesses)


async def test_it_cosigns_every_good_head_and_goes_on_after_it_was_killed(log, tmp_path, key, other):
    with other.running():
        await grow(log, tmp_path, key, 1, 6, 300, 1000, witnesses=[other.witness])
    await grow(log, tmp_path, key, 5, witnesses=[other.witness])  # it is away
    with other.running():
        await grow(log, tmp_path, key, 3, witnesses=[other.witness])
    cosigned = [bool(checkpoint.cosigned(each, [other.witness.key])) for each in signed(log)]
    assert cosigned == [True, True, True, True, False, True]
    head = Checkpoint.parse(note.parts(signed(log)[-1])[0])
    assert other.state() == (1315, note.base64(head.root))
    assert other.evidence() == []
    log.verify()


async def test_it_says_which_size_it_has_and_is_asked_from_there(log, tmp_path, key, other):
    with other.running():
        await grow(log, tmp_path, key, 70, witnesses=[other.witness])
        await grow(log, tmp_path, key, 500)
        engine = db.engine(log.database, DbRole.READER, 1)
        async with engine.connect() as connection, exchange.client() as client:
            asked = []

            async def proof(old):
                asked.append(old)
                return await tree.proof(connection, merkle.consistency_nodes(old, 570))

            line = await witness.cosign(client, other.witness, signed(log)[-1], 7, proof)
        await engine.dispose()
    assert asked == [7, 70]
    grown = checkpoint.with_signatures(signed(log)[-1], [line])
    assert set(checkpoint.cosigned(grown, [other.witness.key])) == {other.witness.name}


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        # Where tlog-witness asks for 409 it answers 422.
        ((70,), "it finds that the head does not continue the one that it has seen"),
        ((30,), "it has seen a log of 70 entries, and this one has 30"),
        ((70, 9), "it finds that the head does not continue the one that it has seen"),
    ],
    ids=["as large", "smaller", "larger"],
)
async def test_it_refuses_another_log_under_the_same_name_and_key(
    server, template, log, tmp_path, key, other, sizes, why, caplog
):
    with other.running():
        await grow(log, tmp_path / "one", key, 70, witnesses=[other.witness])
        before = other.state()
        with postgres.scratch(server, postgres.name_of(template)) as url:
            fork = Log(url)
            await grow(fork, tmp_path / "two", key, *sizes)
            await round_(fork, other.witness)
            assert all(not checkpoint.cosigned(each, [other.witness.key]) for each in signed(fork))
    assert why in caplog.text
    assert other.state() == before
    # A fork that it was shown it keeps, as evidence against the log's key.
    assert bool(other.evidence()) == (sizes != (30,))


async def test_it_refuses_a_head_that_another_key_signed(log, tmp_path, key, other, caplog):
    with other.running():
        await grow(log, tmp_path, SignerKey(ORIGIN, Ed25519PrivateKey.generate()), 3, witnesses=[other.witness])
    assert "it does not know the log's key" in caplog.text
    assert not checkpoint.cosigned(signed(log)[0], [other.witness.key])
