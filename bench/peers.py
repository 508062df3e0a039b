"""The peers as servers: Cerbos with its file audit log, and a bare echo. And the forms in which Cerbos is asked."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from bench import processes, translate
from bench.gate import BATCH, Answered
from mythos_gate.decision.policy import Row
from mythos_gate.settings import root

PATIENCE = 20.0
CERBOS_EVALUATION, CERBOS_CHECK = "/access/v1/evaluation", "/api/check/resources"
MODEL = "mythos-5"


@dataclass(frozen=True, slots=True)
class Peer:
    """`started`: seconds from the command to readiness."""

    url: str
    pid: int
    started: float

    @property
    def roots(self) -> list[int]:
        return [self.pid]


@contextmanager
def cerbos(program: Path, rows: Sequence[Row], port: int, folder: Path) -> Iterator[Peer]:
    """One process, as it is meant to run: it uses every core that it may."""
    policies = folder / "policies"
    policies.mkdir(parents=True)
    (policies / "model.yaml").write_text(translate.cerbos(rows))
    settings = folder / "settings.yaml"
    settings.write_text(f"""
server:
  httpListenAddr: 127.0.0.1:{port}
  grpcListenAddr: unix:{folder}/grpc.sock
  requestLimits: {{maxActionsPerResource: 50, maxResourcesPerRequest: {BATCH}}}
storage: {{driver: disk, disk: {{directory: {policies}, watchForChanges: false}}}}
audit:
  enabled: true
  accessLogsEnabled: false
  decisionLogsEnabled: true
  backend: file
  file: {{path: {folder}/decisions.log}}
telemetry: {{disabled: true}}
""")
    command = [str(program), "server", f"--config={settings}", "--log-level=error"]
    with processes.running(command, folder / "printed.log", {}) as pid:
        yield _ready(f"http://127.0.0.1:{port}", "/_cerbos/health", pid)


@contextmanager
def echo(size: int, workers: int, port: int, folder: Path) -> Iterator[Peer]:
    """A bare uvicorn, run as the gate runs it, answering each request with `size` bytes."""
    command = [sys.executable, "-m", "uvicorn", "bench.echo:app", "--port", str(port), "--workers", str(workers)]
    quiet = [
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--lifespan",
        "off",
        "--no-access-log",
        "--log-level",
        "warning",
    ]
    environment = {"BENCH_ECHO_BYTES": str(size), "PYTHONPATH": str(root())}
    folder.mkdir(parents=True, exist_ok=True)
    with processes.running([*command, *quiet], folder / "echo.log", environment) as pid:
        yield _ready(f"http://127.0.0.1:{port}", "/", pid)


def _ready(url: str, path: str, pid: int) -> Peer:
    begun = time.perf_counter()
    while True:
        try:
            with urlopen(f"{url}{path}", timeout=2):  # noqa: S310  loopback
                return Peer(url, pid, time.perf_counter() - begun)
        except (URLError, OSError):
            if time.perf_counter() - begun > PATIENCE:
                raise
            time.sleep(0.01)


# --- how Cerbos is asked --------------------------------------------------------------------------------------


def single(answered: Answered) -> dict[str, Any]:
    """An AuthZEN evaluation. What the gate has on record is sent with it: the facts, as the resource's properties."""
    subject = answered.question.body["subject"]
    return {
        "subject": subject,
        "action": {"name": translate.ACTION},
        "resource": {"type": translate.KIND, "id": MODEL, "properties": answered.facts},
    }


def many(answered: Sequence[Answered]) -> dict[str, Any]:
    """A batch of Cerbos's own has one principal and many resources: the principal is the gateway, which asks for all.

    So each subject with its facts is a resource. Its AuthZEN batch, with a subject for each, decides for one after the
    other.
    """
    return {
        "principal": {"id": "gateway", "roles": ["gateway"]},
        "resources": [
            {"actions": [translate.ACTION], "resource": {"kind": translate.KIND, "id": _name(each), "attr": each.facts}}
            for each in answered
        ],
    }


def allowed(answer: Mapping[str, Any]) -> bool:
    return bool(answer["actions"][translate.ACTION] == "EFFECT_ALLOW")


def _name(answered: Answered) -> str:
    return str(answered.question.body["subject"]["id"])
