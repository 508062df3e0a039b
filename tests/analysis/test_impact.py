"""The impact of a draft is what asking everybody one by one, before and after, would have shown."""

import random
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from uuid import UUID

import pytest
from sqlalchemy import text

from mythos_gate import db, generate
from mythos_gate.analysis import impact, population
from mythos_gate.analysis.impact import Amended, Draft, Simulation
from mythos_gate.db import DbRole
from mythos_gate.decision import facts
from mythos_gate.decision.library import Library
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.decision.records import Pip
from mythos_gate.decision.request import Location, Request
from mythos_gate.registry import imports
from mythos_gate.revision import Known
from mythos_gate.settings import root
from mythos_gate.terms import DirectiveClass, ForeignNationals, GrantStatus, Mfa, Outcome, Treatment

pytestmark = pytest.mark.anyio
FILES = read_files(root() / "policies")
# What the generated programme has little of.
DISORDER = """
UPDATE people SET status = 'suspended' WHERE hashtext(id) % 11 = 0;
UPDATE people SET training_expires = now() + interval '10 days' WHERE hashtext(id) % 5 = 1;
UPDATE people SET training_expires = now() - interval '10 days' WHERE hashtext(id) % 5 IN (2, -2);
UPDATE people SET review_due = CASE WHEN hashtext(id) % 2 = 0 THEN now() - interval '1 day' END
  WHERE hashtext(id) % 13 = 2;
UPDATE people SET work_country = CASE hashtext(id) % 3 WHEN 0 THEN 'IR' WHEN 1 THEN 'PR' END
  WHERE hashtext(id) % 17 = 3;
UPDATE people SET requested_by = (SELECT min(approver) FROM approvals a WHERE a.person_id = people.id)
  WHERE hashtext(id) % 19 = 4;
UPDATE person_screenings SET screened_at = now() - (abs(hashtext(person_id)) % 72) * interval '1 hour'
  WHERE hashtext(person_id) % 3 = 0;
UPDATE person_screenings SET screened_at = now() + interval '1 hour' WHERE hashtext(person_id) % 23 = 5;
UPDATE person_screenings SET status = 'pending' WHERE hashtext(person_id) % 29 = 6;
DELETE FROM approvals WHERE hashtext(person_id || approver) % 7 = 0;
UPDATE agents SET expires_at = now() - interval '1 day' WHERE hashtext(id) % 6 = 1;
UPDATE agents SET runtime_country = 'CN' WHERE hashtext(id) % 8 = 2;
UPDATE agents SET scopes = '{}' WHERE hashtext(id) % 9 = 3;
UPDATE nationality_records SET country = 'CN' WHERE hashtext(person_id) % 4 = 2;
UPDATE nationality_records SET acquired = date '2020-01-01' - abs(hashtext(person_id)) % 3
  WHERE hashtext(person_id) % 2 = 0;
INSERT INTO nationality_records (id, person_id, kind, country, country_text, acquired, ended)
  SELECT 'nat_' || person_id, person_id, 'citizenship', (ARRAY['CN', 'IR', 'DE', 'YU'])[1 + abs(hashtext(person_id)) % 4],
    'x', (ARRAY[NULL, date '2020-01-01', date '2021-05-05'])[1 + abs(hashtext(person_id || 'a')) % 3],
    (ARRAY[NULL, date '2022-01-01', date '2999-01-01'])[1 + abs(hashtext(person_id || 'e')) % 3]
  FROM export_assessments WHERE us_person = 'no' AND hashtext(person_id) % 3 = 1;
INSERT INTO nationality_records (id, person_id, kind, country, country_text, acquired)
  SELECT 'nat2_' || person_id, person_id, 'permanent_residency', 'IR', 'x', date '2999-01-01'
  FROM export_assessments WHERE us_person = 'no' AND hashtext(person_id) % 4 = 1;
INSERT INTO stops (id, scope, person_id, incident)
  SELECT 'stp_' || id, 'person', id, 'I-1' FROM people WHERE hashtext(id) % 31 = 7;
INSERT INTO stops (id, scope, endpoint_id, incident)
  SELECT 'stp_' || id, 'endpoint', id, 'I-2' FROM endpoints WHERE hashtext(id) % 4 = 1;
UPDATE organizations SET parent_country = 'UY'
  WHERE id IN (SELECT organization_id FROM people GROUP BY 1 ORDER BY count(*) DESC OFFSET 2 LIMIT 2);
UPDATE agents SET runtime_country = 'CH' WHERE hashtext(id) % 2 = 0;
UPDATE people SET work_country = 'NZ' WHERE hashtext(id) % 3 = 0;
UPDATE grants SET allowed_countries = '{*}'
  WHERE organization_id <> (SELECT organization_id FROM people GROUP BY 1 ORDER BY count(*) DESC LIMIT 1);
UPDATE grants SET seat_cap = (SELECT greatest(used, 1) FROM seat_counts WHERE grant_id = id)
  WHERE hashtext(id) % 3 = 0 AND EXISTS (SELECT FROM seat_counts WHERE grant_id = id AND used > 0);
"""


@pytest.fixture
async def crowd(service, tmp_path, monkeypatch):
    """Some organizations with people and agents in every kind of disorder, which follows from their ids."""
    drawn = random.Random(5)
    monkeypatch.setattr(imports, "uuid4", lambda: UUID(int=drawn.getrandbits(128), version=4))
    generate.write(tmp_path / "made", 9, 260, 7)
    for kind, path in generate.kinds(tmp_path / "made", imports.KINDS):
        async with service.gate.registry.change("imported", "test") as change:
            await imports.load(change, kind, path.read_bytes(), now=service.now, relative=True)
    await write(service, *(each for each in DISORDER.split(";\n") if each.strip()))
    connection = await db.connect(service.database, DbRole.COMPLIANCE)
    yield connection
    await connection.close()


async def write(service, *statements):
    async with service.gate.registry.change("test", "test") as change:
        for statement in statements:
            await change.connection.execute(text(statement))


def lacking(*rows):
    """The baseline's files without some of the rows."""
    table = FILES["access.csv"]
    lines = [each for each in table.splitlines(keepends=True) if each.partition(",")[0] not in rows]
    assert len(lines) == len(table.splitlines()) - len(rows)
    return FILES | {"access.csv": "".join(lines)}


def without(*rows):
    return Policy(lacking(*rows))


# --- one by one -----------------------------------------------------------------------------------------------

SUBJECTS = """
SELECT 'person' AS kind, p.id, p.organization_id, p.work_country FROM people p WHERE p.status <> 'erased'
UNION ALL SELECT 'agent', a.id, a.organization_id, p.work_country FROM agents a JOIN people p ON p.id = a.sponsor_id
"""
HELD = "SELECT g.id, g.organization_id, g.model_id FROM grants g"


def requests(row, grant, model, endpoint):
    for version, capability, purpose in product(grant.versions, grant.capabilities, grant.purposes):
        yield (
            version,
            Request(
                row["kind"], row["id"], "invoke", capability, purpose, "model", model, f"{version}.0",
                Location(row["work_country"]), endpoint, Mfa.PHISHING_RESISTANT,
            ),
        )  # fmt: skip


def drafted(loaded, request, draft, policy):
    """The records as the draft would have them."""
    records = loaded.records
    directives = [*records.programme.directives]
    for amended in [each for each in draft.directives if each.model == request.model]:
        own = [
            each and replace(each[0], exempt=records.organization.id in each[1])
            for each in (amended.before, amended.after)
        ]
        directives = [each for each in directives if each != own[0]] + [each for each in own[1:] if each]
    return replace(
        records,
        programme=replace(
            records.programme,
            directives=tuple(directives),
            affiliates_rule=tuple(dict(draft.switches).get(each, each) for each in records.programme.affiliates_rule),
        ),
        grants=tuple(replace(each, **draft.grants.get(each.id, {})) for each in records.grants),
        jurisdictions=draft.jurisdictions or records.jurisdictions,
        thresholds=policy.thresholds,
    )


async def situations(connection):
    """Of each subject, model and endpoint what is on record, as a decision would have it."""
    known = Known()
    pip = Pip(known, Library(), lambda: known.now()[0])
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        held = await connection.fetch(HELD)
        endpoints = await connection.fetch(
            "SELECT id, organization_id FROM endpoints WHERE attested AND status = 'active'"
        )
        subjects = await connection.fetch(SUBJECTS)
        found = []
        for row in subjects:
            home = row["organization_id"]
            models = {each["model_id"] for each in held if each["organization_id"] == home}
            for model, endpoint in product(models, [e["id"] for e in endpoints if e["organization_id"] == home]):
                probe = Request(row["kind"], row["id"], "invoke", None, None, "model", model, None, Location(row["work_country"]), endpoint, Mfa.PHISHING_RESISTANT)  # fmt: skip
                (loaded,) = await pip.load(lambda: nullcontext(connection), None, [probe])
                found.append((row, probe, loaded))
    return [row["id"] for row in subjects], found


def one_by_one(everybody, now, draft, policy):
    """Of each subject the best outcome, and the open paths."""
    subjects, found = everybody
    best = dict.fromkeys(subjects, Outcome.DENY)
    paths: set[tuple[str, str, str, str]] = set()
    for row, probe, loaded in found:
        records = drafted(loaded, probe, draft, policy)
        for grant in records.grants:
            for version, request in requests(row, grant, probe.model, probe.endpoint):
                decision = policy.decide(facts.derive(records, request, now).vector)
                best[row["id"]] = min(best[row["id"]], decision.outcome, key=impact.BEST.index)
                if decision.allowed:
                    paths.add((row["id"], grant.id, probe.endpoint, version))
    return best, paths


async def drafts(connection):
    rows = await connection.fetch(
        "SELECT id, organization_id, excluded_groups, versions FROM grants WHERE status = 'active' ORDER BY id"
    )
    jurisdictions = await jurisdictions_of(connection)
    window = facts.Window(datetime(2020, 1, 1, tzinfo=UTC))
    order = facts.Directive(frozenset({"5.1", "5.0"}), DirectiveClass.FOREIGN_PERSONS_OR_ABROAD, window)
    model = await connection.fetchval("SELECT id FROM models ORDER BY id LIMIT 1")
    exempt = frozenset({rows[0]["organization_id"]})
    old = replace(order, applies_to=DirectiveClass.ALL, versions=frozenset({"5.0"}))
    stricter = FILES["thresholds.csv"].replace("screening_age,48", "screening_age,24")
    return {
        "a row less": Draft(without("training-expired")),
        "a row less that holds": Draft(without("screening-stale")),
        "another threshold": Draft(Policy(FILES | {"thresholds.csv": stricter})),
        "all foreigners": Draft(
            grants={
                each["id"]: {"foreign_nationals": ForeignNationals.ALL_EXCEPT, "excluded_groups": frozenset()}
                for each in rows
            }
        ),
        "a version less": Draft(grants={each["id"]: {"versions": frozenset(each["versions"][:-1])} for each in rows}),
        "countries moved": Draft(jurisdictions=jurisdictions),
        "the United States moved": Draft(jurisdictions=await embargoing(connection, "US")),
        "a place of work moved": Draft(jurisdictions=await embargoing(connection, WORK)),
        "a parent's country moved": Draft(jurisdictions=await embargoing(connection, PARENT)),
        "an agent's place moved": Draft(jurisdictions=await embargoing(connection, RUNTIME)),
        "a directive": Draft(directives=[Amended(model, None, (order, frozenset()))]),
        "a directive with an exemption": Draft(directives=[Amended(model, None, (order, exempt))]),
        "an exemption": Draft(directives=[Amended(model, (old, frozenset()), (old, exempt))]),
        "a directive ends": Draft(directives=[Amended(model, (old, frozenset()), None)]),
        "a directive, and countries moved": Draft(None, jurisdictions, [Amended(model, None, (order, exempt))]),
        "a directive, and a grant": Draft(
            None, None, [Amended(model, (old, frozenset()), None)], {rows[0]["id"]: {"versions": frozenset({"5.1"})}}
        ),
        "a rule ends": Draft(switches=[(window, replace(window, end=datetime(2021, 1, 1, tzinfo=UTC)))]),
        "a bundle": Draft(without("endpoint-unattested"), jurisdictions, grants={rows[0]["id"]: {"seat_cap": 0}}),
    }


COUNTRIES = """
SELECT country FROM nationality_records JOIN export_assessments USING (person_id) WHERE us_person = 'no'
GROUP BY country ORDER BY count(*) DESC LIMIT 6
"""


async def jurisdictions_of(connection):
    """Of the countries that most foreigners are of, the first is indeterminate, and others are embargoed."""
    library = Library()
    loaded = await library.jurisdictions(connection, await connection.fetchval("SELECT data_set_id FROM programme"))
    first, *others = [each["country"] for each in await connection.fetch(COUNTRIES)]
    moved = {
        first: facts.Jurisdiction(Treatment.INDETERMINATE),
        **dict.fromkeys(others, facts.Jurisdiction(Treatment.LISTED, frozenset({"E:1"}))),
    }
    return facts.Jurisdictions({**loaded, **moved})


async def embargoing(connection, code):
    """Of one code alone it says something else."""
    loaded = await Library().jurisdictions(connection, await connection.fetchval("SELECT data_set_id FROM programme"))
    return facts.Jurisdictions({**loaded, code: facts.Jurisdiction(Treatment.LISTED, frozenset({"E:1", "D:5"}))})


SWITCHED = "INSERT INTO switches (id, name, starts_at) VALUES ('swi_1', 'affiliates_rule', '2020-01-01T00:00:00Z')"
OWNED = """
INSERT INTO ownerships (organization_id, owner, percent, listed, blocked)
  SELECT organization_id, 'Grey Holding', 60, true, false
  FROM people GROUP BY organization_id ORDER BY count(*) DESC OFFSET 1 LIMIT 1
"""
# Codes that few others have.
PARENT, RUNTIME, WORK = "UY", "CH", "NZ"
ORDER = """
INSERT INTO directives (id, authority_id, model_id, reference, versions, applies_to, starts_at)
  SELECT 'dir_1', authority_id, id, 'EO-1', '{5.0}', 'all', '2020-01-01T00:00:00Z' FROM models ORDER BY id LIMIT 1
"""


async def test_a_draft_changes_what_asking_each_one_would_have_shown(service, crowd):
    await write(service, ORDER, SWITCHED, OWNED)
    tried = await drafts(crowd)
    everybody = await population.load(
        crowd, Library(), [each.policy for each in tried.values() if each.policy], lambda _: None
    )
    simulation = Simulation(everybody, lambda *_: None)
    each_one = await situations(crowd)
    before = one_by_one(each_one, everybody.now, Draft(), everybody.policy)
    assert everybody.people + everybody.agents == len(before[0]) > 300
    assert len(everybody.classes) < len(before[0])
    assert set(before[0].values()) == set(Outcome)
    moved: Counter[str] = Counter()
    for name, draft in tried.items():
        found = simulation.impact(draft)
        after = one_by_one(each_one, everybody.now, draft, draft.policy or everybody.policy)
        expected: dict[str, list[str]] = {kind: [] for kind in impact.KINDS.values()}
        for who, outcome in after[0].items():
            if outcome != before[0][who]:
                expected[impact.KINDS[outcome]].append(who)
        assert {kind: found.apart[kind] for kind in expected} == {k: sorted(v) for k, v in expected.items()}, name
        paths = {"before": len(before[1]), "after": len(after[1]), "gained": len(after[1] - before[1]), "lost": len(before[1] - after[1])}  # fmt: skip
        assert {each: found.figures["paths"][each] for each in paths} == paths, name
        standing = Counter(each.lower() for each in after[0].values())
        assert Counter(found.figures["standing"]["after"]) == standing, name
        moved[name] = len(after[1] ^ before[1])
    assert len([each for each in moved.values() if each]) >= len(tried) - 4, moved  # by chance a few have none


async def test_a_report_counts_by_whose_it_is(crowd):
    everybody = await population.load(crowd, Library(), [], lambda _: None)
    found = Simulation(everybody, lambda *_: None).impact(Draft(without("training-expired")))
    total: Counter[str] = Counter()
    for each in found.figures["changes"].values():
        total += Counter(each)
    for name in ("by_organization", "by_employment"):
        summed: Counter[str] = Counter()
        for each in found.figures[name].values():
            summed += Counter(each)
        assert summed == total, name
    by_status: Counter[str] = Counter()
    for each in found.apart["by_us_person"].values():
        by_status += Counter(each)
    assert by_status == total
    assert sum(each["subjects"] for each in found.figures["reasons"]) >= total["newly_allowed"] > 0
    assert set(found.apart["acknowledge"]) <= set(found.apart["newly_allowed"])


async def test_whoever_is_newly_allowed_and_of_a_delicate_country_is_named(crowd):
    rows = await crowd.fetch("SELECT id FROM grants WHERE status = 'active'")
    open_to_all = {"foreign_nationals": ForeignNationals.ALL_EXCEPT, "excluded_groups": frozenset()}
    everybody = await population.load(crowd, Library(), [], lambda _: None)
    found = Simulation(everybody, lambda *_: None).impact(Draft(grants={each["id"]: open_to_all for each in rows}))
    people = await crowd.fetch(
        "SELECT p.id, array_agg(n.country) AS countries FROM people p JOIN nationality_records n ON n.person_id = p.id"
        " JOIN export_assessments e ON e.person_id = p.id WHERE e.us_person <> 'yes' GROUP BY p.id"
    )
    jurisdictions = next(iter(everybody.holdings.values()))[0].records.jurisdictions
    sponsors = dict(await crowd.fetch("SELECT id, sponsor_id FROM agents"))
    delicate = {
        each["id"]
        for each in people
        if any(
            jurisdictions.place(country).groups & impact.DELICATE
            or (row := jurisdictions.get(country)) is None
            or row.treatment not in {Treatment.LISTED, Treatment.INHERITS}
            for country in each["countries"]
        )
    }
    expected = [each for each in found.apart["newly_allowed"] if sponsors.get(each, each) in delicate]
    assert found.apart["acknowledge"] == expected
    assert expected


async def test_seats_that_there_are_not_are_counted(crowd):
    """Nobody has a seat, and each grant has one."""
    everybody = await population.load(crowd, Library(), [], lambda _: None)
    for holding in [each for holdings in everybody.holdings.values() for each in holdings]:
        grants = [replace(each, seat_cap=1, seats_used=0) for each in holding.records.grants]
        holding.records.grants = tuple(grants)
    for who in everybody.classes:
        who.person = replace(who.person, seats=frozenset())
    found = Simulation(everybody, lambda *_: None).impact(
        Draft(without("training-expired", "approval-incomplete", "screening-stale", "review-overdue"))
    )
    allowed = found.figures["changes"]["people"]["newly_allowed"]
    assert allowed > 1
    assert sum(found.figures["seats_over"].values()) > 0
    assert max(found.figures["seats_over"].values()) < allowed


async def test_a_grant_on_paper_opens_what_it_opens_once_it_is_active(service, crowd):
    """Also where it is all that the organization holds."""
    await write(service, "UPDATE grants SET status = 'draft' WHERE hashtext(id) > 0 OR organization_id = (SELECT min(id) FROM organizations)")  # fmt: skip
    papers = [row["id"] for row in await crowd.fetch("SELECT id FROM grants WHERE status = 'draft'")]
    before = Simulation(await population.load(crowd, Library(), [], lambda _: None), lambda *_: None)
    told = before.impact(Draft(grants={each: {"status": GrantStatus.ACTIVE} for each in papers}))
    await write(service, "UPDATE grants SET status = 'active' WHERE status = 'draft'")
    after = Simulation(await population.load(crowd, Library(), [], lambda _: None), lambda *_: None)
    nothing = after.impact(Draft())
    for name in ("standing", "paths"):
        assert told.figures[name]["after"] == nothing.figures[name]["before"], name
    assert told.figures["paths"]["gained"] > 0
