"""The bench runs from end to end: a small programme, one second a measurement, every ratio there."""

import json
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mythos_gate.settings import root

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(platform.machine() != "x86_64" or platform.system() != "Linux", reason="Cerbos's package is"),
]
ONLY_LARGE = {"cpu_1m_vs_30k"}


@pytest.fixture
def state() -> Iterator[Path]:
    """Where the user as whom root's Postgres runs gets in."""
    folder = Path(tempfile.mkdtemp(prefix="mg-bench-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_it_measures_everybody(state: Path, tmp_path: Path):
    output = tmp_path / "figures.json"
    command = ["make", "bench", "SIZE=tiny", f"ARGS=--state {state} --output {output}"]
    done = subprocess.run(command, cwd=root(), capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_text())
    assert {name for name, value in found["ratios"].items() if value is None} == ONLY_LARGE
    asked = {(row["what"], row["who"]) for row in found["rows"]}
    assert asked == {
        ("single", "gate"),
        ("single", "cerbos"),
        ("single", "echo"),
        ("single", "treeless"),
        ("batch", "gate"),
        ("batch", "cerbos"),
    }
    assert found["other"]["subjects"] >= 500
    assert not list(state.glob("data-*/postmaster.pid"))
