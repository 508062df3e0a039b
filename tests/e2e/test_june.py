"""The June story: the script of the examples, run against the demo as a reader would."""

import os
import re
import subprocess
import sys

from mythos_gate.settings import root
from tests.e2e.test_demo import demo, state  # noqa: F401  a fixture

STEPS = ["simulated", "directive_created", "simulated", "change_requested", "directive_changed"]


def test_the_script_tells_the_story_and_the_log_holds_every_step(state):  # noqa: F811
    with demo(state) as (printed, url):
        (key,) = re.findall(r"export KEY=(\S+)", printed)
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        command = [sys.executable, "-m", "mythos_gate", "keys", "create", "Second Officer", "--role", "compliance"]
        command += ["--person", "programme-office/second"]
        environment |= {"MYTHOS_GATE_STATE": str(state)}
        second = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        script = [sys.executable, str(root() / "examples" / "june.py"), url, key, second]
        told = subprocess.run(script, capture_output=True, text=True, check=False)
        # The same officer cannot play both parts.
        alone = subprocess.run([*script[:-1], key], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert [
        line.split()[1] for line in told.stdout.splitlines() if re.search(r"Z  (directive|change|simulated)", line)
    ] == STEPS
    assert len(re.findall(r"Z  decision ", told.stdout)) == 13
    assert alone.returncode != 0
