"""`python -m mythos_gate`."""

from mythos_gate.cli import app

app()
