"""An identity provider that we did not write pushes its people to the gate: Canaille, in an environment of its own."""

import sys
from pathlib import Path

import anyio
import pytest

from mythos_gate.terms import Role
from tests.api.test_wire import port  # noqa: F401  a fixture

pytestmark = [pytest.mark.anyio, pytest.mark.integration]
SCRIPT = Path(__file__).with_name("canaille_pushes.py")
PINNED = SCRIPT.with_name("canaille.txt")


async def run(*command):
    done = await anyio.run_process([str(each) for each in command], check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"failed" not in done.stderr, done.stderr.decode()


async def test_canaille_creates_suspends_and_removes_people(service, port, tmp_path):  # noqa: F811
    canaille = tmp_path / "canaille" / "bin" / "python"  # what it needs does not go with what the gate does
    await run(sys.executable, "-m", "venv", canaille.parents[1])
    await run(
        canaille, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-compile", "-r", PINNED
    )
    key = (await service.key(Role.SCIM, organization="acme"))["Authorization"].removeprefix("Bearer ")
    await run(canaille, SCRIPT, f"http://127.0.0.1:{port}/scim/v2", key)
    found = service.sql("SELECT name, email, status, employment FROM people WHERE name LIKE '%% Quill' ORDER BY name")
    assert found == [
        ("ivo Quill", "ivo@acme.example", "active", "ended"),
        ("nell Quill", "nell@acme.example", "suspended", "contractor"),
        ("zora Quill", "zora@acme.example", "active", "contractor"),
    ]
    members = "SELECT g.display_name, p.name FROM scim_groups g JOIN scim_members m ON m.group_id = g.id"
    listed = service.sql(f"{members} JOIN people p ON p.id = m.person_id ORDER BY p.name")
    assert listed == [("analysts", "nell Quill"), ("analysts", "zora Quill")]
