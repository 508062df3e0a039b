"""Where the data of others' test suites is: beside the checkout, or where MYTHOS_GATE_SHARED says."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mythos_gate.settings import root

SHARED = Path(os.environ.get("MYTHOS_GATE_SHARED") or root().parent / "shared")
PLACE = SHARED / "authzen"
marks = [
    pytest.mark.anyio,
    pytest.mark.authzen_conformance,
    pytest.mark.skipif(not PLACE.is_dir(), reason=f"there is no {PLACE}: set MYTHOS_GATE_SHARED"),
]


def read(name: str, otherwise: Any) -> Any:
    """The content of a JSON file; without the data, `otherwise`."""
    path = PLACE / name
    return json.loads(path.read_text()) if path.is_file() else otherwise
