"""`python -m bench [tiny|small|full]`: run it all, show the table, and keep it in bench/latest.json."""

import argparse
import asyncio
import os
import shutil
import sys
from pathlib import Path

from rich.console import Console

from bench import processes, report
from bench.run import PLANS, Say, run


def default_state() -> Path:
    """Below the user's cache folder; root's home is closed to the user as whom its Postgres runs."""
    if os.geteuid() == 0:
        return Path("/var/lib/mythos-gate-bench")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mythos-gate-bench"


def main() -> None:
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("size", nargs="?", default="small", choices=PLANS)
    parser.add_argument("--output", type=Path, default=here / "latest.json")
    parser.add_argument("--state", type=Path, default=os.environ.get("MYTHOS_GATE_STATE") or default_state())
    parser.add_argument("--cerbos", type=Path, default=here.parent / ".bench" / "cerbos")
    given = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("bench: wrk makes the load: e.g. apt install wrk")
    for name in [name for name in os.environ if name.startswith("MYTHOS_GATE_") or name == "DATABASE_URL"]:
        del os.environ[name]  # they are for a service, not for this one
    processes.confine()
    found = asyncio.run(run(PLANS[given.size], Path(given.state), given.cerbos.resolve(), Say()))
    report.save(found, given.output)
    report.show(found, Console(width=max(110, Console().width)))


if __name__ == "__main__":
    main()
