"""The OpenAPI document, fuzzed: no 500, no status and no content type that it does not name."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.test_demo import demo, state  # noqa: F401  a fixture

pytestmark = pytest.mark.integration
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
SECONDS = 20
# What each role reaches in that time; the rest answers 403 alike.
PATHS = {"compliance": "^/(?!scim)", "org_admin": "^/(?!scim)", "scim": "^/scim"}


def key(state: Path, name: str, *role: str) -> str:  # noqa: F811
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    command = [sys.executable, "-m", "mythos_gate", "keys", "create", name, "--role", *role]
    environment |= {"MYTHOS_GATE_STATE": str(state)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


ANALYSES = (
    "/v1/simulations", "/v1/decisions/explain", "/v1/policies/{identifier}/checks", "/v1/policies/{identifier}/simulations",
    "/v1/policies/{identifier}/replays",
)  # fmt: skip
SLOW = [word for path in ANALYSES for word in ("--exclude-path", path)]


@pytest.mark.parametrize("role", PATHS)
def test_whatever_is_sent_is_answered_as_documented(state, tmp_path, role):  # noqa: F811
    with demo(state, 8441) as (printed, url):
        (own,) = re.findall(r"export KEY=(\S+)", printed)
        used = own if role == "compliance" else key(state, f"fuzz {role}", role, "--organization", "northwind-grid")
        # A key that revokes itself would end the run; what starts a process of its own would take all of it.
        command = [
            str(Path(sys.executable).with_name("st")), "run", f"{url}/openapi.json", "-H", f"Authorization: Bearer {used}",
            "--checks", CHECKS, "--phases", "coverage,fuzzing", "--max-time", str(SECONDS), "--continue-on-failure",
            "--exclude-path", "/v1/keys/{key}/revoke", *SLOW, "--include-path-regex", PATHS[role], "--warnings", "off",
        ]  # fmt: skip
        told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=SECONDS * 4)
    assert told.returncode == 0, told.stdout[-6000:]
    tested = re.search(r"Tested: (\d+)", told.stdout)
    assert tested
    assert int(tested[1]) > (15 if role == "scim" else 60)
