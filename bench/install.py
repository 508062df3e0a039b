"""Cerbos from its npm package: fetched into a folder, and refused unless it is the one that is pinned here."""

import base64
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

PACKAGE, VERSION = "@cerbos/cerbos-linux-x64", "0.55.0"
INTEGRITY = "sha512-eLZUycJfaQWK0XTRgH/Oz2E3XiNCUavDd1LhzFxhUpZ3s5CuQqmqG327ta0On8YOTxuZO/19cG4kvfC22r03/Q=="
MEMBER = "package/cerbos-linux-x64"


def fetch() -> bytes:
    """The package's archive, by npm or from the registry that NPM_CONFIG_REGISTRY names."""
    if npm := shutil.which("npm"):
        with tempfile.TemporaryDirectory() as folder:
            command = [npm, "pack", "--silent", "--pack-destination", folder, f"{PACKAGE}@{VERSION}"]
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            return next(Path(folder).glob("*.tgz")).read_bytes()
    if not (registry := os.environ.get("NPM_CONFIG_REGISTRY", "")).startswith("https://"):
        sys.exit("bench: npm is needed to fetch Cerbos, or NPM_CONFIG_REGISTRY: e.g. apt install npm")
    url = f"{registry.rstrip('/')}/{PACKAGE}/-/{PACKAGE.rpartition('/')[2]}-{VERSION}.tgz"
    with urllib.request.urlopen(url) as answer:  # noqa: S310  https, above
        return bytes(answer.read())


def main(program: Path) -> None:
    if program.exists():
        return
    archive = fetch()
    if f"sha512-{base64.b64encode(hashlib.sha512(archive).digest()).decode()}" != INTEGRITY:
        sys.exit(f"bench: {PACKAGE} {VERSION} is not the one that is pinned")
    program.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        content = files.extractfile(MEMBER)
        assert content is not None
        fresh = program.with_suffix(".new")
        fresh.write_bytes(content.read())
    fresh.chmod(0o755)
    fresh.rename(program)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
