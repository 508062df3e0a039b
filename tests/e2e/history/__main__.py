"""A long history: `python -m tests.e2e.history --answers 200000 --changes 500`. Exit code 1 if an answer is wrong."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from mythos_gate import db
from tests import postgres
from tests.e2e.history import run
from tests.e2e.history.client import Servers


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--answers", type=int, default=200_000)
    options.add_argument("--changes", type=int, default=500)
    options.add_argument("--askers", type=int, default=32, help="of each process")
    options.add_argument("--copies", type=int, default=5, help="organizations of each kind")
    options.add_argument("--stop-every", type=float, default=10, help="seconds between stopping a process for two")
    options.add_argument("--deadline", type=float, default=1.5, help="of the processes, in seconds")
    options.add_argument("--delay", type=float, default=0.02, help="at most, at each guard, now and then, in seconds")
    options.add_argument("--broken", help="a guard to break in them")
    chosen = vars(options.parse_args())
    with (
        postgres.running() as server,
        postgres.scratch(server) as database,
        tempfile.TemporaryDirectory() as folder,
        Servers.forking() as servers,
    ):
        db.upgrade(database)
        report = asyncio.run(run.history(servers, database, Path(folder), **chosen))
    sys.stdout.write(f"{report}\n")
    return 1 if report.findings or report.unrecorded else 0


if __name__ == "__main__":
    sys.exit(main())
