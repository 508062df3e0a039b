"""docs/verification.md, followed by an outsider: every shell block, against a running gate."""

import os
import re
import shutil
import subprocess
import sys
import time
import venv

import httpx
import pytest

from mythos_gate.settings import root
from tests.audit.test_independent import GOCODE, HERE
from tests.e2e.test_demo import demo, paste, state  # noqa: F401  a fixture


@pytest.mark.integration  # needs openssl, jq, unzip, Go and packages that are no dependency
def test_every_block_of_the_page_verifies_a_real_log(state, tmp_path):  # noqa: F811
    page = (root() / "docs" / "verification.md").read_text()
    blocks = re.findall(r"^```bash\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 10
    assert len(blocks) == len(re.findall(r"^```\w", page, re.MULTILINE))
    prepare(tmp_path)
    with demo(state, 8431) as (printed, url):
        (key,) = re.findall(r"export KEY=(\S+)", printed)
        paste(printed)
        until_signed(url, key)
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | {
            "MYTHOS_GATE_STATE": str(state), "URL": url, "KEY": key, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "GOCACHE": str(tmp_path / "cache"), "COLUMNS": "200",
        }  # fmt: skip
        told = subprocess.run(
            [str(shutil.which("bash")), "-c", "set -eu -o pipefail\n" + "".join(blocks)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    for line in (
        "the log continues your checkpoint of",
        "\nVERIFIED     leaves 0 to ",
        "Signature Verified Successfully",
        "leaf 3 is in the tree",
        "VERIFIED     the entry is leaf 3 of the",
        "x/mod: ",
        "proofbundle: the entry is in the log",
    ):
        assert line in told.stdout, told.stdout + told.stderr


def prepare(folder):
    """Our command on the path, Go's module from Debian, and the package from PyPI by its hash."""
    (folder / "bin").mkdir()
    command = folder / "bin" / "mythos-gate"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m mythos_gate "$@"\n')
    command.chmod(0o755)
    if not (GOCODE / "src" / "golang.org" / "x" / "mod" / "sumdb").is_dir() or not shutil.which("go"):
        install = ["install", "-qy", "--no-install-recommends", "golang-golang-x-mod-dev", "golang-go"]
        for arguments in (["update", "-q"], install):
            subprocess.run(
                ["apt-get", "-o", "DPkg::Lock::Timeout=300", *arguments], check=True, stdout=subprocess.DEVNULL
            )
    venv.create(folder / "independent", with_pip=True)
    options = [
        "-q",
        "--disable-pip-version-check",
        "--require-hashes",
        "--no-deps",
        "-r",
        str(HERE / "requirements.txt"),
    ]
    subprocess.run([str(folder / "independent" / "bin" / "python"), "-m", "pip", "install", *options], check=True)


def until_signed(url, key):
    """The head is signed each second."""
    for _ in range(100):
        found = httpx.get(f"{url}/v1/log/entries?type=decision", headers={"Authorization": f"Bearer {key}"}).json()
        if found["items"]:
            return
        time.sleep(0.1)
    raise AssertionError("nothing was signed in time")
