"""The README, followed by a reader: from an empty database to a first allowed request; and what operations.md adds."""

import os
import re
import shutil
import socket
import subprocess

import pytest

from mythos_gate.settings import root
from tests.e2e.test_demo import state  # noqa: F401  a fixture

SECTION = "## From an empty database to a first allowed request"


@pytest.mark.integration  # needs curl and bash
def test_the_commands_of_the_readme_lead_to_an_allowed_request(state):  # noqa: F811
    page = (root() / "README.md").read_text()
    section = page.partition(SECTION)[2].partition("\n## ")[0]
    blocks = re.findall(r"^```bash\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    page = (root() / "docs" / "operations.md").read_text()
    provided = re.findall(r"^```bash\n(.*?)^```$", page.partition("\n## SCIM\n")[2], re.MULTILINE | re.DOTALL)
    assert len(provided) == 3
    # By a list and by SCIM: from the empty organization to the answer.
    for walk in ("".join(blocks[-3:]), provided[1].partition("\n\n")[2]):
        assert 3 < len(re.findall(r"^(?:call|scim|for|mythos-gate) ", walk, re.MULTILINE)) < 10
    blocks[-1:-1] = provided
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environment |= {"MYTHOS_GATE_STATE": str(state), "MYTHOS_GATE_PORT": str(port)}
    bash = shutil.which("bash")
    assert bash
    # Job control, so that `kill %1` ends the service as it does for a reader.
    told = subprocess.run(
        [bash, "-c", "set -eum -o pipefail; trap 'kill %1 2>/dev/null || true' EXIT\n" + "".join(blocks)],
        cwd=root(), env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    assert '"status":"in_compliance_review"' in told.stdout
    assert '"totalResults":0' in told.stdout
    assert '"active":false' in told.stdout
    assert '"external_id":"k-8","name":"Ada Example"' in told.stdout
    assert '"status":"suspended"' in told.stdout
    assert "ALLOW  kestrel-rail/k-7" in told.stdout
    assert "ALLOW  heron-water/h-1" in told.stdout
    assert '"external_id":"h-2","name":"Noa Example"' in told.stdout
