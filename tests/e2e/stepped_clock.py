"""`mythos-gate` on a machine whose clock somebody steps: by as many seconds as the file says that STEPPED_BY names.

Nothing sets the clock of the machine that tests run on, and the gate has no setting for it: what it asks is replaced.
"""

import os
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from mythos_gate.cli import app

REAL = datetime
FILE = Path(os.environ["STEPPED_BY"])


def step() -> int:
    """In seconds."""
    return int(FILE.read_text())


class Type(type):
    """`datetime` in every respect but one; what it makes are the real ones, which drivers know."""

    def __call__(cls, *values, **named):
        return REAL(*values, **named)

    def __getattr__(cls, name):
        return getattr(REAL, name)

    def __instancecheck__(cls, value):
        return isinstance(value, REAL)


class Stepped(metaclass=Type):
    @staticmethod
    def now(zone: tzinfo | None = None) -> datetime:
        return REAL.now(zone) + timedelta(seconds=step())


def stepped(clock: Callable[[], Any], second: int) -> Callable[[], Any]:
    return lambda: clock() + step() * second


time.time = stepped(time.time, 1)
time.time_ns = stepped(time.time_ns, 10**9)
for name, module in list(sys.modules.items()):
    if name.startswith("mythos_gate") and getattr(module, "datetime", None) is REAL:
        setattr(module, "datetime", Stepped)  # noqa: B010  no module says that it has one
app()
