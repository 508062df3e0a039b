"""What takes access away takes one officer, member by member; what could give it takes two."""

from contextlib import asynccontextmanager
from typing import Any

import pytest

from mythos_gate.registry.change import Registry
from mythos_gate.registry.narrowing import always, never
from mythos_gate.registry.resources import RESOURCES
from tests.api.test_resources import officer, second  # noqa: F401  fixtures
from tests.service import question

pytestmark = pytest.mark.anyio
BEFORE: dict[str, dict[str, Any]] = {
    "authorities": {"authority": "bureau", "name": "Bureau", "kind": "government", "organization_cap": 2},
    "models": {
        "model": "mythos-6", "authority": "orrery", "name": "Mythos 6", "versions": ["6.0", "6.1"], "capabilities": ["x", "y"],
    },
    "organizations": {"organization": "third", "name": "Third", "status": "prospect"},
    "grants": {
        "authority": "orrery", "reference": "V-9", "organization": "acme", "model": "mythos-5",
        "not_before": "2026-02-01T00:00:00Z", "not_after": "2030-01-01", "versions": ["5.0", "5.1"], "capabilities": ["x", "y"],
        "purposes": ["own", "other"], "foreign_nationals": "listed", "listed_people": ["us", "ca"], "excluded_groups": ["E:1", "D:5"],
        "allowed_countries": ["US", "Germany"], "contractors": True, "agents": True, "seat_cap": 5,
    },
    "directives": {
        "authority": "export-office", "reference": "D-9", "model": "mythos-5", "versions": ["5.0"],
        "applies_to": "foreign_persons_or_abroad", "from": "2026-02-01T00:00:00Z", "until": "2030-01-01",
        "exempt_organizations": ["acme", "other"],
    },
    "switches": {"name": "affiliates_rule", "from": "2026-01-01", "until": "2030-01-01"},
}  # fmt: skip
# By member: what one officer may make of it, and what only two may.
MEMBERS: dict[str, dict[str, tuple[list[Any], list[Any]]]] = {
    "authorities": {"name": (["B", "Bureau"], []), "organization_cap": ([1, 2], [3, None])},
    "models": {
        "name": (["M"], []),
        "versions": ([["6.1"], ["6.1", "6.0"]], [["6.2"], ["6.0", "6.1", "6.2"]]),
        "capabilities": ([["x"]], [["z"], ["x", "z"]]),
    },
    "organizations": {
        "name": ([], ["Third Inc"]),
        "sector": (["energy", None], []),
        "incorporated_in": ([], ["US", "France"]),
        "parent_name": ([], ["P"]),
        "parent_country": ([], ["US"]),
        "ownership_change_pending": ([True, False], []),
    },
    "grants": {
        "organization": (["acme"], []),
        "model": (["mythos-5"], []),
        "document_sha256": ([], ["0" * 64]),
        "not_before": (["2026-02-01T01:00:00Z", "2027-01-01T01:00:00+01:00"], ["2026-01-31", "2026-02-01T00:00:00+01:00"]),
        "not_after": (["2029-12-31"], ["2030-01-02", None]),
        "versions": ([["5.1"]], [["5.1", "5.2"]]),
        "capabilities": ([["y"]], [["x", "y", "z"]]),
        "purposes": ([["own"]], [["own", "third"]]),
        "foreign_nationals": (["none", "NONE", None, "listed"], ["all_except"]),
        "listed_people": ([["ca"], []], [["us", "ca", "new"]]),
        "excluded_groups": ([["D:5", "E:1", "E:2"]], [["E:1"], []]),
        "nationality_basis": (["strict_any_current", None], ["ear_most_recent", "itar_all_ever"]),
        "allowed_countries": ([["DE"], [], ["United States"]], [["US", "FR"], ["*"]]),
        "contractors": ([False, None, True], []),
        "agents": ([False], []),
        "seat_cap": ([4, 0], [6, None]),
    },
    "directives": {
        "model": (["mythos-5"], ["mythos-6"]),
        "versions": ([["5.0", "5.1"]], [["5.1"]]),
        "applies_to": (["all", "foreign_persons_or_abroad"], []),
        "from": (["2026-01-01"], ["2026-03-01"]),
        "until": (["2031-01-01", None], ["2029-01-01"]),
        "exempt_organizations": ([["other"], []], [["acme", "other", "third"]]),
    },
    "switches": {"until": (["2031-01-01", None], ["2029-01-01"])},
}  # fmt: skip
WIDENING = {resource.name: resource for resource in RESOURCES if resource.widens}


# What cannot be wider than BEFORE has it: by kind, member, the value before and the value after.
WIDER_THAN_ANOTHER: list[tuple[str, str, Any, Any]] = [
    ("organizations", "ownership_change_pending", True, False),
    ("grants", "contractors", False, True),
    ("grants", "agents", False, True),
    ("grants", "foreign_nationals", "none", "listed"),
    ("directives", "applies_to", "all", "foreign_persons_or_abroad"),
]


def test_every_member_is_tried_both_ways():
    assert MEMBERS.keys() == WIDENING.keys()
    for name, members in MEMBERS.items():
        settable = WIDENING[name].settable(new=False)
        assert members.keys() == settable.keys()
        wider = {each for each, (_, wider) in members.items() if wider}
        wider |= {member for kind, member, _, _ in WIDER_THAN_ANOTHER if kind == name}
        constant = {"organization", "model"} if name == "grants" else set()
        assert wider == {each for each, column in settable.items() if column.narrows is not always} - constant
        assert {each for each, (narrower, _) in members.items() if not narrower} <= {
            each for each, column in settable.items() if column.narrows is never
        }


@pytest.mark.parametrize(("name", "member", "before", "after"), WIDER_THAN_ANOTHER)
async def test_what_is_wider_than_another_value_waits(officer, name, member, before, after):  # noqa: F811
    if name == "organizations":
        await officer("POST", name, BEFORE[name])
        path = "organizations/third"
        assert (await officer("PATCH", path, {member: before}, **{"If-Match": "*"})).status_code == 200
    else:
        listed: dict[str, Any] = {"listed_people": []} if name == "grants" else {}
        path = f"{name}/{(await officer('POST', name, BEFORE[name] | listed | {member: before})).json()['id']}"
    await officer.simulated(path, {member: after})
    assert (await officer("PATCH", path, {member: after}, **{"If-Match": "*"})).status_code == 202
    assert (await officer("GET", path)).json()[member] == before


@pytest.mark.parametrize("name", WIDENING)
async def test_what_is_narrower_acts_at_once_and_what_is_wider_waits(service, officer, name):  # noqa: F811
    await service.load(
        people="organization,external_id,employment\nacme,new,employee\n",
        organizations="organization,name,status\n" + ("" if name == "organizations" else "third,Third,prospect\n"),
    )
    if name == "directives":
        await officer("POST", "models", BEFORE["models"])
    made = (await officer("POST", name, BEFORE[name])).json()
    path = f"{name}/{made['id']}"
    for member, (narrower, wider) in MEMBERS[name].items():
        for value, status in [*((each, 202) for each in wider), *((each, 200) for each in narrower)]:
            if status == 202:
                await officer.simulated(path, {member: value})
            answer = await officer("PATCH", path, {member: value}, **{"If-Match": "*"})
            assert (member, value, answer.status_code) == (member, value, status), answer.text
            assert (await officer("GET", path)).json() == (made if status == 202 else answer.json())
            if status == 200:  # as it was
                back = await officer.done("PATCH", path, {member: made[member]}, **{"If-Match": "*"})
                assert back.json() == made
    alone, together = (
        {member: each[which][0] for member, each in MEMBERS[name].items() if each[which]} for which in (0, 1)
    )
    if together:  # one member that could widen is enough
        both = alone | dict([together.popitem()])
        await officer.simulated(path, both)
        assert (await officer("PATCH", path, both, **{"If-Match": "*"})).status_code == 202
    assert (await officer("PATCH", path, alone, **{"If-Match": "*"})).status_code == 200


GRANTS = (
    "authority,reference,organization,model,status,not_before,not_after,versions,capabilities,purposes,foreign_nationals,"
    "excluded_groups,nationality_basis,allowed_countries\norrery,V-0,acme,mythos-5,active,now-90d,now+100d,5.0;5.1,"
    "vuln-discovery,defensive-own-systems,all_except,E:1;E:2;D:5;MO,itar_all_ever,US;DE\n"
)


async def test_less_of_a_grant_in_whose_place_another_would_speak_is_not_less(service, officer):  # noqa: F811
    """By the basis of V-0 an Iranian of once is one: without it, by that of V-1, no more."""
    await service.load(
        people="organization,external_id,employment,citizenships\nacme,ca,employee,IR@1970-01-01..1995-01-01;CA@1991-01-01\n",
        grants=GRANTS,
    )
    ids = dict(service.sql("SELECT reference, id FROM grants"))
    for members in ({"not_after": "2026-11-01"}, {"seat_cap": 0}, {"versions": ["5.0"]}):
        await officer.simulated(f"grants/{ids['V-0']}", members)
        assert (await officer("PATCH", f"grants/{ids['V-0']}", members, **{"If-Match": "*"})).status_code == 202
    assert (await officer("PATCH", f"grants/{ids['G-1']}", {"seat_cap": 0}, **{"If-Match": "*"})).status_code == 200


async def test_an_exemption_is_taken_away_by_one_and_denies_at_once(service, officer):  # noqa: F811
    order = BEFORE["directives"] | {"versions": ["5.1"], "until": None, "exempt_organizations": ["acme"]}
    made = (await officer("POST", "directives", order)).json()["id"]
    abroad = question("acme/ca", country="DE")
    assert (await service.ask(abroad)).json()["decision"] is True
    assert (
        await officer("PATCH", f"directives/{made}", {"exempt_organizations": []}, **{"If-Match": "*"})
    ).status_code == 200
    assert (await service.ask(abroad)).json()["decision"] is False
    entries = [item["body"] for item in await service.entries()]
    [changed] = [each for each in entries if each["type"] == "directive_changed"]
    assert (changed["directive"], changed["members"]) == (made, ["exempt_organizations"])


async def test_what_is_narrower_is_so_than_what_is_on_record_when_it_is_done(service, officer, monkeypatch):  # noqa: F811
    """A cap of 4 is less than 5; by the time of the change the cap is 3."""
    made = (await officer("POST", "grants", BEFORE["grants"])).json()["id"]
    real, path, anyhow = Registry.change, f"grants/{made}", {"If-Match": "*"}

    @asynccontextmanager
    async def after_another(registry, kind, actor, **more):
        if kind == "grant_changed":
            monkeypatch.setattr(Registry, "change", real)
            assert (await officer("PATCH", path, {"seat_cap": 3}, **anyhow)).status_code == 200
        async with real(registry, kind, actor, **more) as change:
            yield change

    monkeypatch.setattr(Registry, "change", after_another)
    assert (await officer("PATCH", path, {"seat_cap": 4}, **anyhow)).status_code == 412
    assert (await officer("GET", path)).json()["seat_cap"] == 3
