"""What is simulated before it is approved: terms of a grant, whom a directive concerns, a data set; and what is not."""

from datetime import timedelta

import pytest

from mythos_gate.registry import drafting
from mythos_gate.registry.grants import GRANTS
from mythos_gate.registry.policy_reports import Draft, Needs
from mythos_gate.terms import ReportKind, Role
from tests.analysis.test_impact import lacking
from tests.api.test_data_sets import embargo, send
from tests.api.test_resources import NEW, Rest, officer, second  # noqa: F401  fixtures
from tests.api.test_simulations import staff  # noqa: F401  a fixture
from tests.service import question

pytestmark = pytest.mark.anyio
ANY = {"If-Match": "*"}
NOT_SIMULATED = (403, "POLICY_CHANGE_NOT_SIMULATED")
EXCEEDED = (403, "POLICY_CHANGE_BLAST_RADIUS_EXCEEDED")
WIDER = {"excluded_groups": ["E:1", "E:2"]}


def told(answer):
    return answer.status_code, answer.json().get("code")


@pytest.fixture
async def grant(service):
    ((found,),) = service.sql("SELECT id FROM grants WHERE reference = 'V-1'")
    return found


async def faked(service, grant, members, **needs):
    draft = Draft(members={"grants": {grant: drafting.terms(GRANTS, members, service.now)}})
    names = [f"per_{number}" for number in range(needs.get("acknowledge", 0))]
    return await service.simulated(draft, Needs(**needs), names, [ReportKind.IMPACT])


async def test_terms_of_a_grant_are_widened_after_a_simulation_of_just_them(service, officer, second, grant):  # noqa: F811
    path = f"grants/{grant}"
    refused = await officer("PATCH", path, WIDER, **ANY)
    assert told(refused) == NOT_SIMULATED
    assert (
        f'POST /v1/simulations {{"grants":{{"{grant}":{{"excluded_groups":["E:1","E:2"]}}}}}}'
        in refused.json()["detail"]
    )
    await faked(service, grant, {"excluded_groups": ["E:1"]})
    assert told(await officer("PATCH", path, WIDER, **ANY)) == NOT_SIMULATED
    made = await faked(service, grant, {"excluded_groups": ["E:2", "E:1"]})
    wanted = await officer("PATCH", path, WIDER, **ANY)
    assert (wanted.status_code, wanted.json()["simulation"]) == (202, made)
    assert (await second.approve(wanted.json()["id"])).status_code == 200
    assert (await officer("GET", path)).json()["excluded_groups"] == ["E:1", "E:2"]


async def test_what_opens_it_to_nobody_else_and_what_is_on_paper_need_none(service, officer, grant):  # noqa: F811
    for members in ({"seat_cap": 51}, {"not_after": "2030-01-01T00:00:00Z"}):
        assert (await officer("PATCH", f"grants/{grant}", members, **ANY)).status_code == 202
    draft = (await officer("POST", "grants", NEW["grants"])).json()["id"]
    assert (await officer("PATCH", f"grants/{draft}", {"allowed_countries": ["*"]}, **ANY)).status_code == 202
    # What is suspended opens again with what it says then.
    assert (await officer("POST", f"grants/{grant}/suspend")).status_code == 200
    assert told(await officer("PATCH", f"grants/{grant}", WIDER, **ANY)) == NOT_SIMULATED


async def test_a_simulation_that_holds_no_more_is_none_when_it_is_approved(service, officer, second, grant):  # noqa: F811
    await faked(service, grant, WIDER)
    wanted = await officer("PATCH", f"grants/{grant}", WIDER, **ANY)
    service.sql("ALTER TABLE policy_reports DISABLE TRIGGER append_only")
    service.sql("UPDATE policy_reports SET created_at = created_at - interval '25 hours'")
    assert told(await second.approve(wanted.json()["id"])) == NOT_SIMULATED
    assert told(await officer("PATCH", f"grants/{grant}", WIDER, **ANY)) == NOT_SIMULATED


async def test_what_opens_much_takes_an_officer_of_the_other_authority(service, grant):
    """Who sees it therefore, although the grant is not of that authority."""
    await faked(service, grant, WIDER, approvals=2)
    own = [Rest(service, await service.key(Role.OFFICER, authority="orrery")) for _ in range(2)]
    other = Rest(service, await service.key(Role.OFFICER, authority="export-office"))
    wanted = (await own[0]("PATCH", f"grants/{grant}", WIDER, **ANY)).json()["id"]
    held = await own[1].approve(wanted)
    assert told(held) == (202, EXCEEDED[1])
    third = Rest(service, await service.key(Role.COMPLIANCE))
    assert told(await third.approve(wanted)) == (202, EXCEEDED[1])
    assert (await other("GET", "change-requests")).json()["items"][0]["id"] == wanted
    assert (await other.approve(wanted)).json()["state"] == "approved"


async def test_who_is_named_by_compliance_alone(service, officer, second, grant):  # noqa: F811
    await faked(service, grant, WIDER, acknowledge=2)
    wanted = (await officer("PATCH", f"grants/{grant}", WIDER, **ANY)).json()["id"]
    own = Rest(service, await service.key(Role.OFFICER, authority="orrery"))
    refused = await own.approve(wanted, acknowledged=["per_0", "per_1"])
    assert (told(refused), "compliance approves" in refused.json()["detail"]) == (EXCEEDED, True)
    assert told(await second.approve(wanted, acknowledged=["per_0"])) == EXCEEDED
    assert (await second.approve(wanted, acknowledged=["per_0", "per_1"])).status_code == 200


async def test_what_would_have_to_start_with_some_is_refused_where_nothing_starts_so(service, officer, grant):  # noqa: F811
    await faked(service, grant, WIDER, is_staged=True)
    assert told(await officer("PATCH", f"grants/{grant}", WIDER, **ANY)) == EXCEEDED


async def test_a_directive_goes_first_and_its_end_is_simulated(service, officer, second, staff):  # noqa: F811
    order = NEW["directives"] | {"exempt_organizations": []}
    made = (await officer("POST", "directives", order)).json()["id"]
    denied = (await service.ask(question("acme/us", country="DE"))).json()
    assert denied["context"]["reason_admin"]["primary"] == "MODEL_SUSPENDED_BY_DIRECTIVE"

    async def due():
        items = (await officer("GET", "attention")).json()["items"]
        return [each["id"] for each in items if each["kind"] == "directive_simulation"]

    assert await due() == [made]
    end = {"until": "2026-02-01T00:00:00Z"}
    assert told(await officer("PATCH", f"directives/{made}", end, **ANY)) == NOT_SIMULATED
    report = await officer("POST", "simulations", {"amended": {made: end}})
    assert report.status_code == 201, report.text
    assert report.json()["figures"]["changes"]["people"]["newly_allowed"] == 0  # whose place of work is in the US
    assert await due() == []
    wanted = await officer("PATCH", f"directives/{made}", end, **ANY)
    assert wanted.json()["simulation"] == report.json()["id"]
    assert (await second.approve(wanted.json()["id"])).status_code == 200


async def test_a_directive_that_was_simulated_before_is_not_asked_for(service, officer):  # noqa: F811
    del service
    order = {name: NEW["directives"][name] for name in ("model", "versions", "applies_to", "from")}
    assert (await officer("POST", "simulations", {"directives": [order]})).status_code == 201
    await officer("POST", "directives", NEW["directives"])
    await officer("POST", "directives", NEW["directives"] | {"reference": "D-10", "versions": ["5.0", "5.1"]})
    kinds = [(each["kind"], each["name"]) for each in (await officer("GET", "attention")).json()["items"]]
    assert [name for kind, name in kinds if kind == "directive_simulation"] == ["D-10"]


async def test_a_data_set_is_simulated_before_it_is_in_force_and_its_review_is_not(service, officer, second, staff):  # noqa: F811
    made = (await send(officer, embargo("CA"))).json()["id"]
    reviewed = {"reviewed_at": service.now.isoformat()}
    assert told(await officer("POST", f"data-sets/{made}/activate", reviewed)) == NOT_SIMULATED
    report = await officer("POST", "simulations", {"data_set": made})
    assert report.json()["figures"]["reasons"] == [
        {"before": "TRAINING_EXPIRED", "after": "CITIZENSHIP_EMBARGOED", "subjects": 1}
    ]
    wanted = await officer("POST", f"data-sets/{made}/activate", reviewed)
    assert (told(wanted), wanted.json()["simulation"]) == ((202, "DATASET_UNREVIEWED"), report.json()["id"])
    other = await send(officer, embargo("DE"), version="other")
    assert (await second.approve(wanted.json()["id"])).status_code == 200
    # Of what was simulated under the set before it, nothing holds.
    renewed = await officer("POST", f"data-sets/{made}/activate", reviewed)
    assert (renewed.status_code, renewed.json()["simulation"]) == (202, None)
    assert told(await officer("POST", f"data-sets/{other.json()['id']}/activate", reviewed)) == NOT_SIMULATED


async def test_an_authoritys_officer_simulates_and_does_not_read_of_people(service, staff, grant):  # noqa: F811
    own = Rest(service, await service.key(Role.OFFICER, authority="orrery"))
    made = await own("POST", "simulations", {"grants": {grant: {"agents": False}}})
    assert (made.status_code, "apart" in made.json()) == (201, False), made.text
    path = made.headers["location"].removeprefix("/v1/")
    assert (await own("GET", path)).status_code == 403
    assert (await own("GET", "simulations?limit=1")).json()["items"] == [made.json()]
    compliance = Rest(service, await service.key(Role.COMPLIANCE))
    [(bot,)] = service.sql("SELECT id FROM agents")
    assert (await compliance("GET", path)).json()["apart"]["newly_denied"] == [bot]
    theirs = service.sql("SELECT id FROM grants WHERE reference = 'G-1'")[0][0]
    assert (await own("POST", "simulations", {"grants": {theirs: {"agents": False}}})).status_code == 404


@pytest.mark.parametrize(
    ("draft", "status", "what"),
    [
        ({}, 400, "the draft changes nothing"),
        ({"policy": "0" * 64}, 404, "no such policy"),
        ({"data_set": "0" * 64}, 404, "no such data set"),
        ({"grants": {"grt_1": {"agents": True}}}, 404, "no such grant"),
        ({"amended": {"dir_1": {"until": None}}}, 404, "no such directive"),
        ({"grants": {"grt_1": {"versions": None}}}, 400, "versions: must not be empty"),
        ({"grants": {"grt_1": {"agents": None}}}, 404, "no such grant"),
        ({"grants": {"grt_1": {"agents": "perhaps"}}}, 400, "agents: is of another type"),
        ({"grants": {"grt_1": {"organization": "other"}}}, 400, "'organization' cannot be simulated: use versions,"),
        ({"directives": [{"model": "mythos-5"}]}, 400, "versions, applies_to, from: must be there"),
        ({"amended": {"dir_1": {"versions": []}}}, 400, "versions: must not be empty"),
    ],
)
async def test_what_is_no_draft_is_told(officer, draft, status, what):  # noqa: F811
    answer = await officer("POST", "simulations", draft)
    assert (answer.status_code, what in answer.json()["detail"]) == (status, True), answer.text


async def test_simulations_are_listed_the_newest_first(service, officer, grant):  # noqa: F811
    made = [await faked(service, grant, {"agents": value}) for value in (False, True, False)]
    pages, cursor = [], ""
    while cursor is not None:
        page = (await officer("GET", f"simulations?limit=2{cursor and f'&cursor={cursor}'}")).json()
        pages.append([each["id"] for each in page["items"]])
        cursor = page["next"]
    assert pages == [made[:0:-1], made[:1]]


async def test_traffic_of_a_period_is_decided_again_and_the_report_kept(service, officer, staff):  # noqa: F811
    made = (await officer("POST", "policies", {"files": lacking("training-expired")})).json()["id"]
    await service.ask(question("acme/ca"))
    await service.ask(question("acme/us"))
    report = await officer("POST", f"policies/{made}/replays")
    assert report.status_code == 201, report.text
    figures = report.json()["figures"]
    assert (figures["decisions"], figures["changed"]) == (2, 1)
    [(ca,)] = service.sql("SELECT id FROM people WHERE external_id = 'ca'")
    apart = (await officer("GET", report.headers["location"].removeprefix("/v1/"))).json()["apart"]
    assert [each["id"] for each in apart["subjects"]] == [ca]
    long_ago = {"until": (service.now - timedelta(days=9)).isoformat()}
    assert (await officer("POST", f"policies/{made}/replays", long_ago)).json()["figures"]["decisions"] == 0
    assert (await officer("POST", f"policies/{made}/replays", {"since": 3})).status_code == 400
    kinds = [each["kind"] for each in (await officer("GET", f"policies/{made}/reports")).json()["items"]]
    assert kinds == ["traffic", "traffic"]
