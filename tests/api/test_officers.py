"""Officers of one authority: its instruments and nobody else's; and operators, who look after keys."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from mythos_gate.api import deps
from mythos_gate.terms import Role
from tests.api.test_resources import NEW, Rest
from tests.service import question

pytestmark = pytest.mark.anyio
# No status: it is stated by each test.
VENDORS = NEW["grants"]
GOVERNMENTS = NEW["grants"] | {"authority": "export-office", "reference": "G-9"}


@pytest.fixture
async def vendor(service):
    return [Rest(service, await service.key(Role.OFFICER, authority="orrery")) for _ in range(2)]


@pytest.fixture
async def government(service):
    return [Rest(service, await service.key(Role.OFFICER, authority="export-office")) for _ in range(2)]


async def identifiers(service):
    return dict(service.sql("SELECT reference, id FROM grants UNION ALL SELECT reference, id FROM directives"))


async def test_an_authoritys_officers_issue_its_own_grants_by_two(service, vendor, government):
    one, two = vendor
    assert (await one("POST", "grants", GOVERNMENTS)).status_code == 403
    made = await one("POST", "grants", VENDORS)
    assert made.status_code == 201, made.text
    path = f"grants/{made.json()['id']}"
    for other in government:
        assert (await other("GET", path)).status_code == 404
        assert (await other("PATCH", path, {"seat_cap": 9}, **{"If-Match": "*"})).status_code == 404
        for step in ("activate", "revoke"):
            assert (await other("POST", f"{path}/{step}")).status_code == 404
    proposed = await one("POST", f"{path}/activate")
    assert proposed.status_code == 202
    proposal = proposed.json()["id"]
    for other in government:
        assert (await other("GET", f"change-requests/{proposal}")).status_code == 404
        assert (await other.approve(proposal)).status_code == 404
        assert (await other("POST", f"change-requests/{proposal}/withdraw")).status_code == 404
        assert (await other("GET", "change-requests")).json()["items"] == []
    assert (await two.approve(proposal)).status_code == 200
    assert (await one("GET", path)).json()["status"] == "active"
    # Who acts for the whole programme may be the second as well.
    changed = await one("PATCH", path, {"seat_cap": 9}, **{"If-Match": "*"})
    compliance = Rest(service, await service.key(Role.COMPLIANCE))
    assert (await compliance.approve(changed.json()["id"])).status_code == 200


async def test_lists_hold_the_own_instruments_alone(service, vendor, government):
    await service.load(
        directives="authority,reference,model,versions,applies_to,from\nexport-office,D-1,mythos-5,5.1,all,2020-01-01\n"
    )
    for rest, grants, directives in ((vendor[0], {"V-1"}, set()), (government[0], {"G-1"}, {"D-1"})):
        assert {item["reference"] for item in (await rest("GET", "grants")).json()["items"]} == grants
        assert {item["reference"] for item in (await rest("GET", "directives")).json()["items"]} == directives
        assert {item["model"] for item in (await rest("GET", "models")).json()["items"]} == {"mythos-5"}
        assert len((await rest("GET", "authorities")).json()["items"]) == 2
        for name in ("people", "agents", "endpoints"):
            assert (await rest("GET", name)).status_code == 403
    assert (await vendor[0]("GET", "authorities/orrery/usage")).status_code == 200
    assert (await vendor[0]("GET", "authorities/export-office/usage")).status_code == 404


async def test_a_governments_directive_acts_at_once_and_ends_by_two(service, vendor, government):
    order = NEW["directives"] | {"exempt_organizations": []}
    assert (await vendor[0]("POST", "directives", order)).status_code == 403
    made = await government[0]("POST", "directives", order)
    assert made.status_code == 201

    async def decided():
        return (await service.ask(question("acme/ca", country="DE"))).json()["decision"]

    assert await decided() is False
    path = f"directives/{made.json()['id']}"
    end = {"until": "2026-02-01T00:00:00Z"}
    await government[0].simulated(path, end)
    proposed = await government[0]("PATCH", path, end, **{"If-Match": made.headers["etag"]})
    assert proposed.status_code == 202
    assert (await government[0].approve(proposed.json()["id"])).status_code == 403
    assert await decided() is False
    assert (await government[1].approve(proposed.json()["id"])).status_code == 200
    assert await decided() is True


async def test_a_kill_switch_is_of_the_authority_concerned_and_a_lock_is_anybodys(service, vendor, government):
    one, _ = vendor
    for stop, status in [
        ({"scope": "everything"}, 403),
        ({"scope": "authority", "target": "export-office"}, 403),
        ({"scope": "authority", "target": "nothing"}, 403),
        ({"scope": "authority", "target": "orrery"}, 201),
        ({"scope": "model", "target": "mythos-5"}, 201),
        ({"scope": "person", "target": "acme/us", "incident": "I-1"}, 201),
        ({"scope": "endpoint", "target": "acme/ep-1", "incident": "I-1"}, 201),
    ]:
        assert (await one("POST", "stops", stop)).status_code == status, stop
    assert (
        await government[0]("POST", "stops", {"scope": "model", "target": "mythos-5", "incident": "I"})
    ).status_code == 403
    standing = {item["scope"]: item["id"] for item in (await one("GET", "stops")).json()["items"]}
    # A lock is lifted by two officers of any authority, a kill switch by two of its own.
    for scope, status in {"person": 202, "model": 403, "authority": 403}.items():
        assert (await government[0]("POST", f"stops/{standing[scope]}/lift")).status_code == status
    lift = await vendor[0]("POST", f"stops/{standing['model']}/lift")
    assert (await government[0].approve(lift.json()["id"])).status_code == 404
    assert (await vendor[1].approve(lift.json()["id"])).status_code == 200
    lock = await government[0]("POST", f"stops/{standing['endpoint']}/lift")
    assert (await vendor[0].approve(lock.json()["id"])).status_code == 200
    lifted = (await one("GET", "stops?lifted=true")).json()["items"]
    assert {item["scope"] for item in lifted} == {"model", "endpoint"}
    assert all(item["lifted_at"] for item in lifted)
    assert (await one("GET", f"stops/{standing['person']}")).json()["target"] == "acme/us"
    assert (await one("GET", "stops/stp_0")).status_code == 404


async def test_a_stop_of_everything_is_lifted_by_the_programmes_officers(service, vendor):
    compliance = Rest(service, await service.key(Role.COMPLIANCE))
    made = (await compliance("POST", "stops", {"scope": "everything"})).json()["id"]
    assert (await vendor[0]("POST", f"stops/{made}/lift")).status_code == 403
    lift = (await compliance("POST", f"stops/{made}/lift")).json()["id"]
    assert (await vendor[0].approve(lift)).status_code == 403


async def test_models_and_caps_are_changed_by_their_own_authority(vendor, government):
    model, cap = {"versions": ["5.0", "5.1", "5.2"]}, {"organization_cap": 300}
    tag = {"If-Match": "*"}
    assert (await government[0]("PATCH", "models/mythos-5", model, **tag)).status_code == 403
    assert (await government[0]("PATCH", "authorities/orrery", cap, **tag)).status_code == 403
    assert (await vendor[0]("PATCH", "models/mythos-5", model, **tag)).status_code == 202
    assert (await vendor[0]("PATCH", "authorities/orrery", cap, **tag)).status_code == 202
    assert (await vendor[0]("POST", "authorities", NEW["authorities"])).status_code == 403
    assert (await government[0]("POST", "models", NEW["models"])).status_code == 403
    assert (await vendor[0]("POST", "models", NEW["models"])).status_code == 201


async def test_an_organization_concerns_whose_grants_it_holds(service, vendor, government):
    await service.load(organizations="organization,name,status\nfree,Free,active\n")
    await service.load(
        grants="authority,reference,organization,model,status,not_before,versions,capabilities,purposes\n"
        "orrery,V-2,other,mythos-5,active,2026-01-01,5.1,x,own\nexport-office,G-2,other,mythos-5,draft,2026-01-01,5.1,x,own\n"
    )
    tag, mine, name = {"If-Match": "*"}, {"ownership_change_pending": True}, {"name": "Another"}
    requests: list[tuple[str, str, Any]] = [
        ("POST", "suspend", None), ("POST", "revoke", None), ("PATCH", "", mine), ("PATCH", "", name), ("POST", "activate", None),
        ("PUT", "ownership", {"owners": []}),
    ]  # fmt: skip
    for method, step, members in requests:
        answer = await government[0](method, f"organizations/other/{step}".rstrip("/"), members, **tag)
        assert (answer.status_code, "holds grants of other authorities" in answer.text) == (403, True), step
    proposed = await vendor[0]("PATCH", "organizations/other", name, **tag)
    assert proposed.status_code == 202
    assert (await government[0].approve(proposed.json()["id"])).status_code == 403
    assert (await vendor[1].approve(proposed.json()["id"])).status_code == 200
    # acme holds grants of both, and of nobody what is free.
    for organization in ("acme", "free"):
        assert (await government[0]("PATCH", f"organizations/{organization}", mine, **tag)).status_code == 200
        assert (await vendor[0]("POST", f"organizations/{organization}/suspend")).status_code == 200
    held = dict(await identifiers(service))["V-2"]
    assert (await vendor[0]("GET", "organizations/other/ownership")).status_code == 200
    assert (await government[0]("GET", "organizations/other/ownership")).status_code == 403
    owners = (await vendor[0]("PUT", "organizations/other/ownership", {"owners": []}, **tag)).json()["id"]
    assert (await vendor[1]("GET", f"change-requests/{owners}")).status_code == 200
    assert (await government[0]("GET", f"change-requests/{owners}")).status_code == 404
    assert (await vendor[0]("POST", f"grants/{held}/suspend")).status_code == 200
    assert (await government[0]("POST", "organizations/other/suspend")).status_code == 403
    expired = {"not_after": "2026-02-01"}
    assert (await vendor[0]("PATCH", f"grants/{held}", expired, **tag)).status_code == 200
    assert (await government[0]("PATCH", "organizations/other", mine, **tag)).status_code == 200
    assert (await government[0]("POST", "organizations/other/suspend")).status_code == 200


async def test_what_one_authority_proposes_another_does_not_see(vendor, government):
    order = NEW["directives"] | {"exempt_organizations": []}
    made = (await government[0]("POST", "directives", order)).json()["id"]
    ends, tag = {"until": "2027-01-01T00:00:00Z"}, {"If-Match": "*"}
    wanted = [
        (vendor, government, "models/mythos-5", {"versions": ["5.0", "5.1", "5.2"]}),
        (vendor, government, "authorities/orrery", {"organization_cap": 300}),
        (government, vendor, f"directives/{made}", ends),
    ]
    for theirs, others, path, members in wanted:
        await theirs[0].simulated(path, members)
        answer = await theirs[0]("PATCH", path, members, **tag)
        assert answer.status_code == 202, path
        proposal = f"change-requests/{answer.json()['id']}"
        assert (await theirs[1]("GET", proposal)).status_code == 200
        for other in others:
            assert (await other("GET", proposal)).status_code == 404
            assert (await other.approve(proposal)).status_code == 404
            assert answer.json()["id"] not in (await other("GET", "change-requests")).text


async def test_what_falls_due_is_the_own_authoritys(service, vendor, government):
    await service.load(
        people="organization,external_id,employment,training_expires\nacme,ca,employee,now+3d\n",
        grants="authority,reference,organization,model,status,not_before,not_after,versions,capabilities,purposes\n"
        "orrery,V-7,acme,mythos-5,active,now-9d,now+9d,5.1,x,own\nexport-office,G-7,acme,mythos-5,active,now-9d,now+9d,5.1,x,own\n",
    )
    for rest, reference in ((vendor[0], "V-7"), (government[0], "G-7")):
        items = (await rest("GET", "attention?within=20")).json()["items"]
        assert [item["name"] for item in items] == [reference]


async def test_an_officers_key_names_one_authority_and_no_other_role(service):
    for scope in ({}, {"authority": "nothing"}):
        with pytest.raises(Exception, match=r"an officer has one authority|not on record"):
            await service.key(Role.OFFICER, **scope)
    with pytest.raises(Exception, match="an officer has one authority"):
        await service.key(Role.COMPLIANCE, authority="orrery")


# --- operators --------------------------------------------------------------------------------------------------


async def test_an_operator_revokes_a_key_and_sees_none(service):
    operator = Rest(service, service.authorization(Role.OPERATOR))
    lost = await service.key(Role.COMPLIANCE)
    assert (await Rest(service, lost)("GET", "people")).status_code == 200
    items = (await operator("GET", "keys?limit=200")).json()["items"]
    secret = lost["Authorization"].split("_")
    [found] = [item for item in items if item["id"] == secret[1]]
    assert found["roles"] == ["compliance"]
    assert secret[2] not in str(items)
    assert "hash" not in found
    assert (await operator("POST", f"keys/{found['id']}/revoke")).status_code == 200
    assert (await Rest(service, lost)("GET", "people")).status_code == 401
    assert (await operator("POST", f"keys/{found['id']}/revoke")).status_code == 409
    assert (await operator("POST", "keys/0000000000000000/revoke")).status_code == 404
    paged: list[dict[str, str]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await operator("GET", f"keys?limit=2{f'&cursor={cursor}' if cursor else ''}")).json()
        paged, cursor = paged + page["items"], page["next"]
    assert [each["id"] for each in paged] == [each["id"] for each in items]


async def test_an_operator_reads_nothing_of_the_registry(service):
    operator = Rest(service, service.authorization(Role.OPERATOR))
    for path in (
        "people",
        "grants",
        "organizations",
        "change-requests",
        "stops",
        "attention",
        "log/entries",
        "screenings",
    ):
        assert (await operator("GET", path)).status_code == 403
    assert (await operator("GET", "programme")).json()["policy_revision"] == 1


async def test_an_officer_reaches_no_nationality_even_where_no_route_keeps_it(service, monkeypatch):
    """The database refuses it: officers, operators and auditors administer as a role of their own."""
    real, asked = deps.Gate.confine, []

    def confine(gate, caller):
        real(gate, caller)
        asked.append(gate.registry.engine)

    monkeypatch.setattr(deps.Gate, "confine", confine)
    keys = [await service.key(Role.OFFICER, authority="orrery"), service.authorization(Role.OPERATOR)]
    for headers in (*keys, service.authorization(Role.COMPLIANCE)):
        assert (await service.client.get("/v1/programme", headers=headers)).status_code == 200
    *officers, compliance = asked
    for table in ("nationality_records", "export_assessments", "nationality_commitments", "export_assessments_history"):
        query = text(f"SELECT count(*) FROM {table}")
        for engine in officers:
            async with engine.connect() as connection:
                with pytest.raises(ProgrammingError, match="permission denied"):
                    await connection.execute(query)
        async with compliance.connect() as connection:
            await connection.execute(query)
    async with officers[0].connect() as connection:
        with pytest.raises(ProgrammingError, match="permission denied"):
            await connection.execute(text("SELECT export_assessment('per_1')"))
