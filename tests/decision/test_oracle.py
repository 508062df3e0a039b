"""The product's derivation and decision against an independent reading of the domain, on random documents."""

import random
from datetime import timedelta
from pathlib import Path

import pytest

from mythos_gate.decision import cases, facts
from mythos_gate.decision.policy import FILES, Policy
from mythos_gate.settings import root
from tests.decision import oracle, random_cases

POLICIES = root() / "policies"
DOCUMENTS_PER_SEED = 500


def _read(name: str) -> str:
    return (POLICIES / name).read_text()


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy({name: _read(name) for name in FILES})


@pytest.mark.parametrize("seed", range(4))
def test_until_is_when_the_vector_may_change_and_no_later(seed: int) -> None:
    jurisdictions = cases.read_jurisdictions(_read("jurisdictions.csv"))
    rng = random.Random(seed)
    limited = 0
    for _ in range(DOCUMENTS_PER_SEED):
        raw = random_cases.document(rng)
        document = cases.document(raw, {})
        records, request = document.records(jurisdictions), document.asked()
        derived = facts.derive(records, request, document.now)
        assert document.now < derived.until, raw
        horizon = min(derived.until, document.now + timedelta(days=400)) - facts.INSTANT
        limited += derived.until < facts.FAR
        for later in (horizon, document.now + (horizon - document.now) * rng.random()):
            assert facts.derive(records, request, later).vector == derived.vector, (raw, later)
    assert limited > DOCUMENTS_PER_SEED // 2


@pytest.mark.parametrize("seed", range(8))
def test_the_product_decides_as_the_oracle_does(policy: Policy, seed: int) -> None:
    table = oracle.rows(Path(POLICIES / "access.csv"))
    atlas = oracle.rows(Path(POLICIES / "jurisdictions.csv"))
    jurisdictions = cases.read_jurisdictions(_read("jurisdictions.csv"))
    rng = random.Random(seed)
    for _ in range(DOCUMENTS_PER_SEED):
        raw = random_cases.document(rng)
        expected = oracle.expect(raw, table, atlas)
        document = cases.document(raw, {})
        derived = facts.derive(document.records(jurisdictions), document.asked(), document.now)
        got = policy.decide(derived.vector)
        # The oracle reports a cause only behind a reported AGENT_SPONSOR_DENIED; the product always records it.
        cause = list(got.cause) if "AGENT_SPONSOR_DENIED" in got.codes else []
        assert expected == {
            "decision": got.outcome,
            "primary_reason": got.primary,
            "all_reasons_in_tier": list(got.codes),
            "cause": cause,
            "bypassed": list(got.bypassed),
            "facts": dict(derived.vector),
        }, raw
