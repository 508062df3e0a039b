"""64 clients of 8 processes race for the last seats."""

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import suppress

import httpx
import pytest

from mythos_gate import sequencing
from mythos_gate.settings import Settings
from mythos_gate.terms import Role
from tests.service import DIGEST_KEY, question, until

pytestmark = [pytest.mark.anyio, pytest.mark.integration]
CLIENTS, PROCESSES, SEATS = 64, 8, 1
COLUMNS = (
    "organization,external_id,employment,us_person,us_basis,training_expires,acceptable_use,"
    "technology_control_plan,approvals,requested_by,review_due\n"
)


@pytest.fixture
async def url(service, tmp_path):
    """The service as it is run, in many processes, over one database; every person is eligible, one seat is free."""
    people = range(CLIENTS)
    await service.load(
        people=COLUMNS + "".join(f"acme,p{i},employee,yes,citizen,now+90d,yes,yes,a1;a2,r1,now+90d\n" for i in people),
        screenings="organization,person,status,screened_at\n" + "".join(f"acme,p{i},clear,now-1h\n" for i in people),
    )
    service.sql(f"ALTER TABLE grants DISABLE TRIGGER ALL; UPDATE grants SET seat_cap = {SEATS}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sequencing.make_keys(Settings(state=tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-m", "mythos_gate", "serve", "--port", str(port), "--workers", str(PROCESSES)],
        env=os.environ
        | {"DATABASE_URL": service.database, "MYTHOS_GATE_STATE": str(tmp_path), "MYTHOS_GATE_DIGEST_KEY": DIGEST_KEY}
        | {"MYTHOS_GATE_DEADLINE": "30"},
    )
    try:
        base = f"http://127.0.0.1:{port}"

        def ready():
            with suppress(httpx.HTTPError):
                return (
                    len(list((tmp_path / "writers").glob("*"))) > PROCESSES - 1
                    and httpx.get(base + "/health/ready").is_success
                )
            return False

        await until(ready, 60)
        yield base
    finally:
        process.terminate()
        process.wait(30)


async def test_the_last_seat_is_taken_once(service, url):
    async def ask(person):
        # A client of its own each, so that the connections are spread over the processes.
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            return await client.post(
                "/access/v1/evaluation",
                json=question(f"acme/p{person}", country="DE"),
                headers=service.authorization(Role.COMPLIANCE),
            )

    answers = await asyncio.gather(*(ask(person) for person in range(CLIENTS)))
    assert {answer.status_code for answer in answers} == {200}
    outcomes = [answer.json()["context"]["reason_admin"]["primary"] for answer in answers]
    assert sorted(outcomes) == ["ALLOW"] * SEATS + ["SEAT_CAP_REACHED"] * (CLIENTS - SEATS)
    # Two grants are claimed, both or none.
    held = service.sql("SELECT count(*), count(DISTINCT person_id), count(DISTINCT grant_id) FROM seats")
    assert held == [(2 * SEATS, SEATS, 2)]
    assert service.sql("SELECT used FROM seat_counts") == [(SEATS,), (SEATS,)]
    writers = service.sql("SELECT count(DISTINCT writer) FROM log_entries WHERE type = 'decision'")
    assert writers[0][0] > 1
