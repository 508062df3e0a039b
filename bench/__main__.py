"""`python -m bench [tiny|small|full]`: run it all, show the table, and keep it in bench/latest.json.

`python -m bench tree`: what the log's tree costs and how fast it is, in bench/tree.json.
`python -m bench impact`: how long it takes to say whom a draft would concern, in bench/impact.json.
`python -m bench shadow`: what it costs an answer that another policy is watched beside, in bench/shadow.json.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import evidence, impact, processes, report, shadow
from bench.run import PLANS, Say, run

# What else there is, each with a file of its own.
SIZES: dict[str, Callable[[Path, Say], dict[str, Any]]] = {
    "tree": lambda state, say: asyncio.run(evidence.measure(PLANS["small"], state, say)).content(),
    "impact": impact.measure,
    "shadow": lambda state, say: asyncio.run(shadow.measure(PLANS["small"], state, say)),
}


def default_state() -> Path:
    """Below the user's cache folder; root's home is closed to the user as whom its Postgres runs."""
    if os.geteuid() == 0:
        return Path("/var/lib/mythos-gate-bench")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mythos-gate-bench"


def main() -> None:
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("size", nargs="?", default="small", choices=[*PLANS, *SIZES])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--state", type=Path, default=os.environ.get("MYTHOS_GATE_STATE") or default_state())
    parser.add_argument("--cerbos", type=Path, default=here.parent / ".bench" / "cerbos")
    given = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("bench: wrk makes the load: e.g. apt install wrk")
    for name in [name for name in os.environ if name.startswith("MYTHOS_GATE_") or name == "DATABASE_URL"]:
        del os.environ[name]  # they are for a service, not for this one
    processes.confine()
    if given.size in SIZES:
        state = Path(given.state)
        content = SIZES[given.size](state, Say())
        output = given.output or here / f"{given.size}.json"
        output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        Console().print_json(data=content)
        return
    found = asyncio.run(run(PLANS[given.size], Path(given.state), given.cerbos.resolve(), Say()))
    report.save(found, given.output or here / "latest.json")
    report.show(found, Console(width=max(110, Console().width)))


if __name__ == "__main__":
    main()
