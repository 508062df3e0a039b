"""The policy cases through the whole stack: imported, asked over HTTP, at the case's own time."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

from mythos_gate.decision import cases
from mythos_gate.decision.cases import Document
from mythos_gate.decision.facts import Jurisdictions, derive
from mythos_gate.decision.policy import FILES as FILES_OF_A_POLICY
from mythos_gate.decision.policy import Policy
from mythos_gate.settings import root
from tests.conftest import _name, _scratch
from tests.e2e import case_programme
from tests.service import Service

pytestmark = pytest.mark.anyio
# The service is asked a little before the case's instant: time goes on while it answers.
EARLY = timedelta(seconds=2)
FILES = [*sorted((root() / "policies" / "cases").glob("*.json")), root().parent / "shared" / "data" / "cases.json"]


# Of the gate's own cases a sample in every run, all of them with the integration tests.
EVERY = 8


@cache
def _policy() -> tuple[Policy, Jurisdictions]:
    read = {name: (root() / "policies" / name).read_text() for name in [*FILES_OF_A_POLICY, "jurisdictions.csv"]}
    return Policy(read), cases.read_jurisdictions(read["jurisdictions.csv"])


def _can_be_asked(file, scenario) -> bool:
    """The pure tests hold the rest: what begins at its very instant cannot be asked before it, and the database
    refuses an agent without a sponsor and a break-glass without an incident.
    """
    policy, jurisdictions = _policy()
    document = cases.document(file.base, scenario.overrides)
    if (document.agent and not document.person) or (document.break_glass and not document.break_glass.incident):
        return False
    if 4.9 < abs(document.policy.clock_skew_s or 0) < 5.1:  # measured over a network, not to the millisecond
        return False
    derived = derive(document.records(jurisdictions), document.asked(), document.now - EARLY)
    return not scenario.expect.differences(policy.decide(derived.vector))


def _scenarios():
    for path in FILES:
        if path.is_file():
            file = cases.read(path.read_text())
            for number, scenario in enumerate(file.scenarios):
                if not _can_be_asked(file, scenario):
                    continue
                sampled = path.stem == "cases" or number % EVERY == 0
                yield pytest.param(
                    scenario,
                    cases.document(file.base, scenario.overrides),
                    id=f"{path.stem}-{scenario.id}",
                    marks=[] if sampled else [pytest.mark.integration],
                )


@pytest.mark.parametrize(("scenario", "document"), list(_scenarios()))
async def test_the_service_decides_the_case(server, template, tmp_path: Path, scenario, document: Document):
    displacement = document.now - EARLY - datetime.now(UTC)
    skew = timedelta(seconds=document.policy.clock_skew_s or 0)
    with _scratch(server, _name(template)) as database:
        async with Service.running(database, tmp_path, displacement, skew) as service:
            service.sql("SELECT make_log_partitions(%s::date, 2)", document.now.date())
            await service.prepare()
            await case_programme.load(service, document)
            answer = await service.ask(case_programme.question(document))
    assert answer.status_code == 200, answer.text
    admin = answer.json()["context"]["reason_admin"]
    expected = scenario.expect
    outcome = answer.json()["context"]["outcome"]
    assert expected.decision == ("ALLOW" if outcome.startswith("allow") else outcome.upper())
    assert (expected.primary_reason, expected.all_reasons_in_tier) == (admin["primary"], admin["codes"]), json.dumps(
        admin
    )
    assert (expected.cause or admin["cause"], expected.bypassed or admin["bypassed"]) == (
        admin["cause"],
        admin["bypassed"],
    )
