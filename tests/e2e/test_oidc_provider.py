"""A real provider, npm's oidc-provider: its client-credential tokens open the gate, also when its key has changed."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from joserfc.jwk import ECKey

from mythos_gate.authn import oidc
from tests import postgres
from tests.service import Service, question

pytestmark = [pytest.mark.anyio, pytest.mark.integration]
PACKAGE = "oidc-provider@9.13.3"
AUDIENCE, OTHER = "https://gate.example", "https://another.example"
SCRIPT = Path(__file__).with_name("provider.mjs")
FILE = """
[[issuers]]
issuer = "{url}"
audience = "{audience}"
algorithms = ["ES256"]

[[issuers.roles]]
claim = "scope"
value = "gate.ask"
role = "gateway"
"""


@contextmanager
def providing(folder):
    """The provider's URL, and its process."""
    if not (npm := shutil.which("npm")):
        pytest.skip("npm is not here")
    subprocess.run([npm, "install", "--silent", "--ignore-scripts", "--no-audit", PACKAGE], cwd=folder, check=True)
    shutil.copy(SCRIPT, folder)
    for name in ("k1", "k2"):
        key = ECKey.generate_key("P-256", {"kid": name, "alg": "ES256", "use": "sig"})
        (folder / name).write_text(json.dumps(key.as_dict(private=True)))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["node", SCRIPT.name, str(port), AUDIENCE, "k1", "k2"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.terminate()


def token(url, **members):
    """By client credentials (RFC 6749 4.4), as soon as the provider is up."""
    asked = {"grant_type": "client_credentials", "scope": "gate.ask", **members}
    for _ in range(100):
        try:
            answer = httpx.post(f"{url}/token", data=asked, auth=("gateway-1", "not-a-secret"))
        except httpx.ConnectError:
            time.sleep(0.1)
        else:
            assert answer.status_code == 200, answer.text
            return {"Authorization": f"Bearer {answer.json()['access_token']}"}
    raise AssertionError("the provider did not start")


async def ask(service, headers):
    return await service.client.post("/access/v1/evaluation", json=question(), headers=headers)


async def test_a_gateway_of_a_real_provider_asks(server, programme, tmp_path, monkeypatch):
    pace = oidc.Pace(again=0.1)
    monkeypatch.setattr(oidc, "Pace", lambda: pace)
    with providing(tmp_path) as (url, process), postgres.scratch(server, postgres.name_of(programme[0])) as own:
        first = token(url)
        file = tmp_path / "issuers.toml"
        file.write_text(FILE.format(url=url, audience=AUDIENCE))
        async with Service.running(own, tmp_path, issuers=file) as service:
            answer = await ask(service, first)
            assert (answer.status_code, answer.json()["decision"]) == (200, True)
            assert (await ask(service, token(url, resource=OTHER))).status_code == 401
            assert (await service.client.get("/v1/programme", headers=first)).status_code == 403
            os.kill(process.pid, signal.SIGHUP)
            time.sleep(0.5)
            assert (await ask(service, token(url))).status_code == 200
            assert (await ask(service, first)).status_code == 401
