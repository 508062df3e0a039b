"""The policy's cases, and the format that officers write them in."""

import json
from pathlib import Path
from typing import Any

import pytest

from mythos_gate.decision import cases, catalogue, facts
from mythos_gate.decision.policy import FILES, NO_RULE, Decision, Policy
from mythos_gate.errors import Invalid
from mythos_gate.settings import root

POLICIES = root() / "policies"
# Those that the policy was accepted by, where they are at hand.
ACCEPTANCE = sorted((root() / "../shared/data").glob("cases.json"))
CASE_FILES = sorted((POLICIES / "cases").glob("*.json"))
NOW = "2026-11-02T09:00:00Z"


def _scenarios(paths: list[Path]) -> list[object]:
    """One parameter per scenario: a case file that holds it alone."""
    return [
        pytest.param(file.model_copy(update={"scenarios": [scenario]}), id=f"{path.stem}/{scenario.id}")
        for path in paths
        for file in [cases.read(path.read_text())]
        for scenario in file.scenarios
    ]


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy({name: (POLICIES / name).read_text() for name in FILES})


@pytest.fixture(scope="module")
def jurisdictions() -> facts.Jurisdictions:
    return cases.read_jurisdictions((POLICIES / "jurisdictions.csv").read_text())


@pytest.fixture(scope="module")
def vectors(jurisdictions: facts.Jurisdictions) -> list[facts.Vector]:
    """The facts of every scenario of the gate's own cases."""
    situations = [
        cases.document(file.base, scenario.overrides)
        for file in (cases.read(path.read_text()) for path in CASE_FILES)
        for scenario in file.scenarios
    ]
    return [facts.derive(each.records(jurisdictions), each.asked(), each.now).vector for each in situations]


@pytest.fixture(scope="module")
def decisions(policy: Policy, vectors: list[facts.Vector]) -> list[Decision]:
    """What the policy decides of them."""
    return [policy.decide(vector) for vector in vectors]


def _differences(file: cases.CaseFile, policy: Policy, jurisdictions: facts.Jurisdictions) -> list[Any]:
    return [dict(result.differences) for result in cases.run(file, policy, jurisdictions)]


# --- the cases ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", _scenarios([*CASE_FILES, *ACCEPTANCE]))
def test_the_policy_decides_its_cases(file: cases.CaseFile, policy: Policy, jurisdictions: facts.Jurisdictions) -> None:
    assert _differences(file, policy, jurisdictions) == [{}]


def test_every_reason_has_a_case(policy: Policy, decisions: list[Decision]) -> None:
    # With the baseline table something always matches: a request that no deny stops is covered, hence allowed.
    reachable = policy.reasons.keys() - {NO_RULE}
    assert reachable
    assert {code for decision in decisions for code in decision.codes} == reachable


def test_every_row_has_a_case(policy: Policy, decisions: list[Decision]) -> None:
    assert policy.rows
    assert {row for decision in decisions for row in decision.rows} == {row.row for row in policy.rows}


TABLE = (POLICIES / "access.csv").read_text().splitlines(keepends=True)


@pytest.mark.parametrize("line", range(1, len(TABLE)), ids=lambda line: TABLE[line].split(",")[0])
def test_no_row_can_be_removed_without_a_case_that_tells(
    line: int, policy: Policy, vectors: list[facts.Vector], decisions: list[Decision]
) -> None:
    """What is reported of some case is another, not merely which rows matched."""
    row = TABLE[line].split(",")[0]
    files = {name: (POLICIES / name).read_text() for name in FILES}
    without = Policy(files | {"access.csv": "".join(TABLE[:line] + TABLE[line + 1 :])})
    concerned = [(vector, full) for vector, full in zip(vectors, decisions, strict=True) if row in full.rows]
    assert concerned
    assert any(
        (found := without.decide(vector)).codes != full.codes or found.cause != full.cause for vector, full in concerned
    )


def test_with_a_mutilated_table_nothing_applies(vectors: list[facts.Vector], decisions: list[Decision]) -> None:
    """Without the rows that allow, what was allowed is denied, and says that this is a gap."""
    files = {name: (POLICIES / name).read_text() for name in FILES}
    kept = [line for line in TABLE if ",allow,allow," not in line or line.startswith("both-authorities-break-glass")]
    mutilated = Policy(files | {"access.csv": "".join(kept)})
    decided = zip(vectors, decisions, strict=True)
    allowed = [vector for vector, full in decided if full.codes == ("ALLOW",) and vector["break_glass"] == "none"]
    assert len(allowed) > 20
    assert {mutilated.decide(vector).codes for vector in allowed} == {(NO_RULE,)}


def test_the_page_of_reasons_is_that_of_the_catalogue(policy: Policy) -> None:
    page = (root() / "docs" / "reasons.md").read_text()
    assert len(policy.reasons) > 50
    assert [code for code in policy.reasons if f"| `{code}` |" not in page] == []
    assert page == catalogue.page({name: (POLICIES / name).read_text() for name in FILES})


@pytest.mark.parametrize("path", CASE_FILES, ids=lambda path: path.stem)
def test_cases_are_readable(path: Path) -> None:
    file = cases.read(path.read_text())
    ids = [scenario.id for scenario in file.scenarios]
    assert ids
    assert len(set(ids)) == len(ids)
    assert all(scenario.title.endswith(".") for scenario in file.scenarios)


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        ({"decision": "HOLD"}, "decision"),
        ({"primary_reason": "EMERGENCY_STOP"}, "primary_reason"),
        ({"all_reasons_in_tier": ["ALLOW", "ALLOW"]}, "all_reasons_in_tier"),
        ({"cause": ["PERSON_SUSPENDED"]}, "cause"),
        ({"bypassed": ["TRAINING_EXPIRED"]}, "bypassed"),
    ],
)
def test_a_wrong_expectation_is_found(
    stated: dict[str, Any], name: str, policy: Policy, jurisdictions: facts.Jurisdictions
) -> None:
    file = json.loads((POLICIES / "cases" / "authorities.json").read_text())
    expect = {"decision": "ALLOW", "primary_reason": "ALLOW", "all_reasons_in_tier": ["ALLOW"], **stated}
    file["scenarios"] = [{"id": "wrong", "overrides": {}, "expect": expect}]
    (differences,) = _differences(cases.read(json.dumps(file)), policy, jurisdictions)
    assert list(differences) == [name]


# --- the format -----------------------------------------------------------------------------------------------

EXPECT = {"decision": "ALLOW", "primary_reason": "ALLOW", "all_reasons_in_tier": ["ALLOW"]}
SCENARIO: dict[str, Any] = {"id": "one", "overrides": {}, "expect": EXPECT}
FILE: dict[str, Any] = {"schema": cases.SCHEMA, "base": {"now": NOW}, "scenarios": [SCENARIO]}
GRANT = {"id": "V-17", "org": "northwind-grid", "authority": "VENDOR", "status": "ACTIVE", "not_before": NOW}


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ({**FILE, "scenario": []}, "scenario: extra inputs are not permitted"),
        ({**FILE, "schema": "mythos-gate-cases/2"}, "schema: input should be 'mythos-gate-cases/1'"),
        ({"schema": cases.SCHEMA, "base": {}}, "scenarios: field required"),
        ({**FILE, "scenarios": [SCENARIO, {**SCENARIO, "skip": True}]}, "scenarios.1.skip: extra inputs"),
        ({**FILE, "scenarios": [{"id": "one", "overrides": {}}]}, "scenarios.0.expect: field required"),
        (
            {**FILE, "scenarios": [{**SCENARIO, "expect": {**EXPECT, "primary": "ALLOW"}}]},
            "scenarios.0.expect.primary: extra inputs",
        ),
        (
            {**FILE, "scenarios": [{**SCENARIO, "expect": {**EXPECT, "decision": "MAYBE"}}]},
            "scenarios.0.expect.decision: input should be",
        ),
    ],
)
def test_a_file_names_the_place_of_its_error(file: dict[str, Any], place: str) -> None:
    with pytest.raises(Invalid) as error:
        cases.read(json.dumps(file))
    assert str(error.value).startswith(place)


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({}, "now: field required"),
        ({"now": "2026-11-02T09:00:00"}, "now: input should have timezone info"),
        ({"now": NOW, "today": "2026-11-02"}, "today: extra inputs are not permitted"),
        ({"now": NOW, "person": {"nickname": "Bo"}}, "person.nickname: extra inputs are not permitted"),
        ({"now": NOW, "person": {"screening": {}}}, "person.screening.status: field required"),
        ({"now": NOW, "person": {"us_person": "MAYBE"}}, "person.us_person: input should be"),
        ({"now": NOW, "person": {"aup": "yes"}}, "person.aup: input should be a valid boolean"),
        ({"now": NOW, "grants": [GRANT, {**GRANT, "seats": 5}]}, "grants.1.seats: extra inputs are not permitted"),
        (
            {"now": NOW, "grants": [{name: GRANT[name] for name in GRANT if name != "not_before"}]},
            "grants.0.not_before: field required",
        ),
        (
            {"now": NOW, "model": {"directives": [{"id": "D-3", "model_versions": [], "applies_to": "ALL"}]}},
            "model.directives.0.from: field required",
        ),
    ],
)
def test_a_document_names_the_place_of_its_error(document: dict[str, Any], place: str) -> None:
    with pytest.raises(Invalid) as error:
        cases.document(document, {})
    assert str(error.value).startswith(place)


def test_an_error_in_overrides_names_the_scenario(policy: Policy, jurisdictions: facts.Jurisdictions) -> None:
    wrong = {**SCENARIO, "id": "two", "overrides": {"location": {"city": "Paris"}}}
    file = cases.read(json.dumps({**FILE, "scenarios": [SCENARIO, wrong]}))
    with pytest.raises(Invalid, match=r"^two: location\.city: extra inputs are not permitted$"):
        list(cases.run(file, policy, jurisdictions))


def test_malformed_json_names_its_line() -> None:
    with pytest.raises(Invalid, match=r"^line 3, column 2: not JSON: "):
        cases.read('{\n "schema": "mythos-gate-cases/1",\n base: {}\n}')


@pytest.mark.parametrize(
    ("base", "overrides", "merged"),
    [
        pytest.param({"a": 1}, {}, {"a": 1}, id="no overrides leave the base"),
        pytest.param({"a": 1, "b": 2}, {"b": 3}, {"a": 1, "b": 3}, id="a value replaces"),
        pytest.param({"a": {"b": 1, "c": {"d": 2}}}, {"a": {"c": {"e": 3}}}, {"a": {"b": 1, "c": {"d": 2, "e": 3}}}, id="objects merge at every depth"),
        pytest.param({"a": [1, 2, 3]}, {"a": [4]}, {"a": [4]}, id="a list replaces"),
        pytest.param({"a": [{"b": 1}]}, {"a": [{"c": 2}]}, {"a": [{"c": 2}]}, id="objects in a list do not merge"),
        pytest.param({"a": [1]}, {"a": []}, {"a": []}, id="an empty list replaces"),
        pytest.param({"a": {"b": 1}}, {"a": None}, {"a": None}, id="null replaces an object"),
        pytest.param({"a": {"b": 1}}, {"a": {"b": None}}, {"a": {"b": None}}, id="null replaces a value"),
        pytest.param({"a": None}, {"a": {"b": 1}}, {"a": {"b": 1}}, id="an object replaces null"),
        pytest.param({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}, id="an empty object changes nothing"),
        pytest.param({}, {"a": {"b": 1}}, {"a": {"b": 1}}, id="what the base lacks is added"),
    ],
)  # fmt: skip
def test_overrides_are_deep_merged(base: dict[str, Any], overrides: dict[str, Any], merged: dict[str, Any]) -> None:
    before = json.dumps([base, overrides])
    assert cases.merge(base, overrides) == merged
    assert json.dumps([base, overrides]) == before
