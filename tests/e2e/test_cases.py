"""The policy cases through the whole stack: imported, asked over HTTP, at the case's own time."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

from mythos_gate.decision import cases
from mythos_gate.decision.cases import Document, Scenario
from mythos_gate.settings import root
from mythos_gate.terms import Role
from tests.decision import oracle
from tests.e2e import case_programme, rest_programme
from tests.e2e.rest_programme import Founded
from tests.postgres import name_of, scratch
from tests.service import Service

pytestmark = pytest.mark.anyio
Made = TypeVar("Made")
# The service is asked a little before the case's instant: time goes on while it is set up and answers, on a busy machine
# for longer than one would think.
EARLY = timedelta(seconds=20)
FILES = [*sorted((root() / "policies" / "cases").glob("*.json")), root().parent / "shared" / "data" / "cases.json"]


# Of the gate's own cases a sample in every run; with the integration tests one in four, and set up over REST, which
# takes some thirty requests for each, one in eight. The pure tests ask all of them.
EVERY = 8
BY_IMPORT, BY_REST = 4, 8


@cache
def _tables() -> list[list[dict[str, str]]]:
    return [oracle.rows(root() / "policies" / name) for name in ("access.csv", "jurisdictions.csv")]


def _can_be_asked(file, scenario) -> bool:
    """The pure tests hold the rest: what begins at its very instant cannot be asked before it, and the database
    refuses an agent without a sponsor and a break-glass without an incident.
    """
    document = cases.document(file.base, scenario.overrides)
    if (document.agent and not document.person) or (document.break_glass and not document.break_glass.incident):
        return False
    if 4.9 < abs(document.policy.clock_skew_s or 0) < 5.1:  # measured over a network, not to the millisecond
        return False
    raw = oracle.merge(file.base, scenario.overrides)
    early = raw | {"now": (document.now - EARLY).isoformat().replace("+00:00", "Z")}
    return oracle.expect(raw, *_tables()) == oracle.expect(early, *_tables())


@cache
def _asked() -> list[tuple[str, int, Scenario, Document]]:
    """The cases that can be asked, each with its file and its place there."""
    return [
        (path.stem, number, scenario, cases.document(file.base, scenario.overrides))
        for path in FILES
        if path.is_file()
        for file in [cases.read(path.read_text())]
        for number, scenario in enumerate(file.scenarios)
        if _can_be_asked(file, scenario)
    ]


def _scenarios(*, by_rest: bool = False):
    for name, number, scenario, document in _asked():
        left_out = name != "cases" and number % (BY_REST if by_rest else BY_IMPORT)
        if left_out or (by_rest and rest_programme.cannot(document)):
            continue
        sampled = name == "cases" or number % EVERY == 0
        marks = [] if sampled else [pytest.mark.integration]
        yield pytest.param(scenario, document, id=f"{name}-{scenario.id}", marks=marks)


async def _before_all(database: str, state: Path, begin: Callable[[Service], Awaitable[Made]]) -> Made:
    """What `begin` makes in this database an hour before the first case, with room in the log until the last."""
    begun = [document.break_glass.opened for *_, document in _asked() if document.break_glass]
    instants = [document.now for *_, document in _asked()] + [each for each in begun if each]
    at = min(instants) - timedelta(hours=1)
    async with Service.running(database, state, at - datetime.now(UTC)) as service:
        for day in {at.date(), *(each.date() for each in instants)}:
            service.sql("SELECT make_log_partitions(%s::date, 2)", day)
        return await begin(service)


@pytest.fixture(scope="session")
def prepared(server, template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[Role, str]]]:
    """A database to copy, in which policy and data are in force, and its keys."""

    async def begin(service: Service) -> dict[Role, str]:
        await service.prepare()
        return service.keys

    with scratch(server, name_of(template)) as database:
        yield database, asyncio.run(_before_all(database, tmp_path_factory.mktemp("prepared"), begin))


@pytest.fixture(scope="session")
def founded(server, template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Founded]:
    """A database to copy: what the programmes of all cases have in common, set up over REST."""
    with scratch(server, name_of(template)) as database:
        yield asyncio.run(_before_all(database, tmp_path_factory.mktemp("founded"), rest_programme.found))


@pytest.mark.parametrize(("scenario", "document"), list(_scenarios()))
async def test_the_service_decides_the_case(server, prepared, tmp_path: Path, scenario, document: Document):
    url, keys = prepared
    with scratch(server, name_of(url)) as database:
        async with _running(database, tmp_path, document, document.now - EARLY) as service:
            service.keys = dict(keys)
            await case_programme.load(service, document)
            answer = await service.ask(case_programme.question(document))
    _check(scenario.expect, answer)


@pytest.mark.parametrize(("scenario", "document"), list(_scenarios(by_rest=True)))
async def test_a_programme_set_up_over_rest_decides_the_case(
    server, founded: Founded, tmp_path: Path, scenario, document: Document
):
    with scratch(server, name_of(founded.database)) as database:

        def running(at: datetime):
            return _running(database, tmp_path, document, at)

        async with rest_programme.loaded(document, founded, running, EARLY) as (service, key):
            answer = await service.client.post(
                "/access/v1/evaluation", json=case_programme.question(document), headers=key
            )
    _check(scenario.expect, answer)


def _running(database: str, state: Path, document: Document, at: datetime):
    """The service at an instant, with the case's difference of clocks."""
    skew = timedelta(seconds=document.policy.clock_skew_s or 0)
    return Service.running(database, state, at - datetime.now(UTC), skew)


def _check(expected, answer):
    assert answer.status_code == 200, answer.text
    admin = answer.json()["context"]["reason_admin"]
    outcome = answer.json()["context"]["outcome"]
    assert expected.decision == ("ALLOW" if outcome.startswith("allow") else outcome.upper())
    assert (expected.primary_reason, expected.all_reasons_in_tier) == (admin["primary"], admin["codes"]), json.dumps(
        admin
    )
    if expected.cause is not None:
        assert expected.cause == admin["cause"]
    if expected.bypassed is not None:
        assert expected.bypassed == admin["bypassed"]


@pytest.mark.parametrize("path", [path for path in FILES if path.stem == "cases" and path.is_file()], ids=str)
def test_no_acceptance_case_is_left_out(path: Path):
    file = cases.read(path.read_text())
    assert [scenario.id for scenario in file.scenarios if not _can_be_asked(file, scenario)] == []
    documents = [cases.document(file.base, scenario.overrides) for scenario in file.scenarios]
    assert [each for document in documents if (each := rest_programme.cannot(document))] == []


def test_few_of_the_gates_own_cases_are_left_out():
    files = [cases.read(path.read_text()) for path in FILES if path.stem != "cases"]
    left_out = [scenario.id for file in files for scenario in file.scenarios if not _can_be_asked(file, scenario)]
    assert len(left_out) < 50, left_out
