"""No answer contradicts a change that was acknowledged before it was asked for; and each guard is needed for that."""

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mythos_gate.revision import GLOBAL
from tests import postgres
from tests.e2e.history import run
from tests.e2e.history.broken import BROKEN
from tests.e2e.history.client import Process, Servers
from tests.e2e.history.run import Run
from tests.e2e.history.world import MAKERS, Episode

pytestmark = pytest.mark.anyio
DEADLINE = 1.5


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers.forking() as forking:
        yield forking


async def test_no_answer_is_stale(servers, database, tmp_path):
    report = await run.history(
        servers, database, tmp_path, answers=3_000, changes=60, copies=1, stop_every=3, deadline=DEADLINE, delay=0.01
    )
    assert report.findings == [], report
    assert report.unrecorded == 0
    assert len(report.history.answers) >= 3_000
    assert sum(report.kinds.values()) >= 60
    assert report.history.stops
    # It was worth it: every change was seen by somebody, and all kinds of answers were given.
    assert not report.unseen, report
    assert min(sum(answer.allowed is said for answer in report.history.answers) for said in (True, False)) > 500, report
