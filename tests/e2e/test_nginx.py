"""The real nginx with the configuration of deploy/, in front of a stand-in model: what the gate does not allow is refused."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from mythos_gate.settings import root
from tests.e2e.test_demo import demo, state  # noqa: F401  a fixture
from tests.service import question

pytestmark = pytest.mark.integration
DEPLOY = root() / "deploy"


@pytest.fixture(scope="module")
def nginx() -> str:
    """The path of Debian's nginx, installed if it is missing."""
    if shutil.which("nginx") is None:
        for command in (
            ["apt-get", "-o", "DPkg::Lock::Timeout=300", "update", "-q"],
            ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-qy", "--no-install-recommends", "nginx-light"],
        ):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = shutil.which("nginx")
    assert found
    return found


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mgc-"))
    # The demo's Canadian on the attested endpoint; a colleague on one that is not; somebody who is not on record.
    for person, endpoint in (("e-1042", "ep-7"), ("e-1001", "ep-8"), ("stranger", "ep-7")):
        subprocess.run([DEPLOY / "certificates.sh", folder, person, endpoint], check=True)
    # A subject in which a part of another's stands, with an escaped comma; and one with two names.
    for name, subject in (("forged", "/OU=ep-7/CN=stranger/O=x,CN=e-1042"), ("two", "/OU=ep-7/CN=e-1042/CN=stranger")):
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
        ]
        command += ["-subj", subject, "-CA", "devices.pem", "-CAkey", "devices.key"]
        subprocess.run(
            [*command, "-keyout", f"{name}.key", "-out", f"{name}.pem"],
            check=True,
            cwd=folder,
            stderr=subprocess.DEVNULL,
        )
    yield folder
    shutil.rmtree(folder)


class Model(BaseHTTPRequestHandler):
    """Notes what reaches it."""

    seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self):
        self.seen.append(dict(self.headers))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the model answers")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_):
        pass


@contextmanager
def served(handler) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def proxied(nginx: str, certificates: Path, gate: str, key: str) -> Iterator[str]:
    """nginx in front of the model, asking this gate; its address."""
    Model.seen.clear()
    with served(Model) as model:
        values = {
            "GATE": gate, "GATE_KEY": key, "MODEL": f"127.0.0.1:{model}", "ORGANIZATION": "northwind-grid",
            "LOCAL_COUNTRY": "DE", "CERTIFICATES": str(certificates),
        }  # fmt: skip
        with running(nginx, "nginx.conf.template", values) as url:
            yield url


@contextmanager
def running(nginx: str, name: str, values: dict[str, str]) -> Iterator[str]:
    """nginx with a template of deploy/, filled in with these; its address."""
    with tempfile.TemporaryDirectory(prefix="mgn-") as folder:
        port = free_port()
        values = values | {"LISTEN": f"127.0.0.1:{port}"}
        template = (DEPLOY / name).read_text()
        server = re.sub(r"\$\{([A-Z_]+)}", lambda found: values[found[1]], template)
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        conf = Path(folder, "nginx.conf")
        conf.write_text(
            f"{user} daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}"
            f" http {{ access_log off; {temporary}\n{server}\n}}"
        )
        process = subprocess.Popen([nginx, "-p", folder, "-c", conf], stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield f"https://localhost:{port}"
        finally:
            process.terminate()
            process.wait(10)


def get(
    url: str,
    certificates: Path,
    person: str | None,
    *,
    method: str = "GET",
    content: bytes | None = None,
    **headers: str,
) -> httpx.Response:
    trusted = ssl.create_default_context(cafile=str(certificates / "server.pem"))
    if person is not None:
        trusted.load_cert_chain(certificates / f"{person}.pem", certificates / f"{person}.key")
    target = f"{url}/v1/complete"
    return httpx.request(method, target, content=content, headers=headers, verify=trusted, timeout=20)


@pytest.fixture(scope="module")
def gate(state: Path) -> Iterator[tuple[str, str, str]]:  # noqa: F811
    """The demo's address, a gateway's key for it, and the demo's own."""
    with demo(state, 8431) as (printed, url):
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        command = [sys.executable, "-m", "mythos_gate", "keys", "create", "nginx", "--role", "gateway", "--service"]
        environment |= {"MYTHOS_GATE_STATE": str(state)}
        key = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        yield url.removeprefix("http://"), key, re.findall(r"export KEY=(\S+)", printed)[0]


def test_what_the_gate_allows_reaches_the_model_with_the_decision(nginx, certificates, gate):
    address, key, own = gate
    with proxied(nginx, certificates, address, key) as url:
        answer = get(url, certificates, "e-1042")
        assert (answer.status_code, answer.text) == (200, "the model answers"), answer.headers
        [seen] = Model.seen
        decision = answer.headers["x-decision-id"]
        assert seen["X-Decision-ID"] == decision
    entry = httpx.get(f"http://{address}/v1/decisions/{decision}", headers={"Authorization": f"Bearer {own}"}).json()
    assert (entry["outcome"], entry["facts"]["presence"], entry["facts"]["endpoint"]) == (
        "allow",
        "foreign_abroad",
        "attested",
    )


def test_a_request_with_a_body_is_asked_about_without_it_and_passed_on_with_it(nginx, certificates, gate):
    with proxied(nginx, certificates, *gate[:2]) as url:
        answer = get(url, certificates, "e-1042", method="POST", content=b"prompt!")
        assert (answer.status_code, answer.text) == (200, "the model answers"), answer.headers
        assert Model.seen[0]["Content-Length"] == "7"
        assert get(url, certificates, "stranger", method="POST", content=b"prompt!").status_code == 403
        assert len(Model.seen) == 1


@pytest.mark.parametrize(
    ("person", "reason"), [("e-1001", "USE_APPROVED_DEVICE"), ("stranger", "NOT_ENROLLED")], ids=str
)
def test_what_the_gate_denies_does_not_reach_the_model(nginx, certificates, gate, person, reason):
    with proxied(nginx, certificates, *gate[:2]) as url:
        answer = get(url, certificates, person)
        assert (answer.status_code, answer.headers["x-reason-code"]) == (403, reason)
        assert Model.seen == []


def test_whoever_is_not_authenticated_is_not_even_asked_about(nginx, certificates, gate):
    with proxied(nginx, certificates, *gate[:2]) as url:
        answer = get(url, certificates, None)
        assert (answer.status_code, "x-decision-id" in answer.headers) == (401, False)
        assert Model.seen == []


@pytest.mark.parametrize("name", ["forged", "two"])
def test_a_subject_that_holds_more_than_one_name_is_nobodys(nginx, certificates, gate, name):
    with proxied(nginx, certificates, *gate[:2]) as url:
        answer = get(url, certificates, name)
        assert (answer.status_code, "x-decision-id" in answer.headers) == (401, False)
        assert Model.seen == []


def test_what_a_client_asserts_in_headers_counts_for_nothing(nginx, certificates, gate):
    forged: dict[str, Any] = {
        "X-Gate-Subject": "northwind-grid/e-1042",
        "X-Gate-Endpoint": "ep-7",
        "X-Gate-Country": "US",
    }
    with proxied(nginx, certificates, *gate[:2]) as url:
        answer = get(url, certificates, "stranger", Authorization=f"Bearer {gate[2]}", **forged)
        assert (answer.status_code, answer.headers["x-reason-code"]) == (403, "NOT_ENROLLED")
        assert Model.seen == []


def test_a_proxy_whose_key_is_not_valid_lets_nobody_in(nginx, certificates, gate):
    with proxied(nginx, certificates, gate[0], "mgk_0_0_0") as url:
        assert get(url, certificates, "e-1042").status_code == 401
        assert Model.seen == []


def test_a_gate_that_is_down_is_a_refusal(nginx, certificates):
    with proxied(nginx, certificates, f"127.0.0.1:{free_port()}", "mgk_0_0_0") as url:
        assert get(url, certificates, "e-1042").status_code == 500
        assert Model.seen == []


class Slow(BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(5)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_gate_that_is_slow_is_a_refusal(nginx, certificates):
    with served(Slow) as port, proxied(nginx, certificates, f"127.0.0.1:{port}", "mgk_0_0_0") as url:
        begun = time.perf_counter()
        assert get(url, certificates, "e-1042").status_code in {500, 504}
        assert time.perf_counter() - begun < 4.5
        assert Model.seen == []


class Broken(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_gate_that_could_not_decide_is_a_refusal(nginx, certificates):
    with served(Broken) as port, proxied(nginx, certificates, f"127.0.0.1:{port}", "mgk_0_0_0") as url:
        assert get(url, certificates, "e-1042").status_code == 500
        assert Model.seen == []


# --- mutual TLS in front of the gate ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gateways(certificates: Path, gate: tuple[str, str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Which certificate is whose: gateway-1's, for which there is a key; gateway-2 has a good one and no key."""
    for name in ("gateway-1", "gateway-2"):
        command = (
            f"openssl req -x509 -newkey ed25519 -nodes -days 30 -subj /CN={name} -CA devices.pem -CAkey devices.key"
        )
        command += f" -keyout {name}.key -out {name}.pem"
        subprocess.run(command.split(), check=True, cwd=certificates, stderr=subprocess.DEVNULL)
    file = tmp_path_factory.mktemp("gateways") / "gateways.map"
    file.write_text(f'"CN=gateway-1" "Bearer {gate[1]}";\n')
    file.chmod(0o600)
    return file


@pytest.mark.parametrize(
    ("name", "sent", "status"),
    [
        ("gateway-1", {}, 200),
        ("gateway-1", {"Authorization": "Bearer mgk_0_0_0"}, 200),
        ("gateway-2", {}, 401),
        ("gateway-2", {"Authorization": "Bearer {key}"}, 401),
        ("e-1042", {"Authorization": "Bearer {key}"}, 401),
        (None, {"Authorization": "Bearer {key}"}, 400),
    ],
)
def test_a_gateway_is_who_its_certificate_says_whatever_key_it_sends(
    nginx, certificates, gate, gateways, name, sent, status
):
    address, key, own = gate
    values = {"GATE": address, "CERTIFICATES": str(certificates), "GATEWAYS": str(gateways)}
    headers = {header: value.format(key=key) for header, value in sent.items()}
    with running(nginx, "nginx-mtls.conf.template", values) as url:
        client = ssl.create_default_context(cafile=str(certificates / "server.pem"))
        if name is not None:
            client.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
        answer = httpx.post(
            f"{url}/access/v1/evaluation", json=question("northwind-grid/e-1042"), headers=headers, verify=client
        )
        assert answer.status_code == status, answer.text
    if status == 200:
        entry = httpx.get(
            f"http://{address}/v1/decisions/{answer.headers['x-decision-id']}",
            headers={"Authorization": f"Bearer {own}"},
        )
        assert entry.json()["caller"]["key"] == key.split("_")[1]
