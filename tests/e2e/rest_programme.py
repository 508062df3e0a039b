"""A case document as a programme in a database, set up as its people would: every record by a request over REST."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mythos_gate.countries import normalise
from mythos_gate.decision.cases import Document, GrantPart, ScreeningPart
from mythos_gate.decision.policy import FILES
from mythos_gate.registry import callers, officers
from mythos_gate.terms import (
    AgentStatus,
    AuthorityKind,
    Employment,
    GrantStatus,
    OrganizationStatus,
    PersonStatus,
    Role,
    ScreeningStatus,
    UsPerson,
)
from tests.e2e.case_programme import ABROAD
from tests.service import OFFICE, POLICIES, Service

AUTHORITY = {"vendor": "vendor", "government": "usg"}
ANY = {"If-Match": "*"}
ADMIN = "administrator of "


def cannot(document: Document) -> str | None:
    """What nobody can bring about over REST: then the case is set up by import (`case_programme`)."""
    glass = document.break_glass
    if glass is not None:
        if not (glass.incident and glass.opened and glass.expires and glass.opened < document.now):
            return "a break-glass without its incident or times, or opened in the future"
        if not timedelta() < glass.expires - glass.opened <= timedelta(hours=8):
            return "a break-glass for longer than is allowed"
    reviewed = document.policy.country_data_reviewed_at
    if reviewed is not None and reviewed > document.now:
        return "a review that is still to come"
    used = document.seat.used
    if any(grant.seat_cap is not None and used.get(grant.id, 0) > grant.seat_cap for grant in document.grants):
        return "more seats than there are"
    return None


class Officers:
    """Requests under named keys, which are all that is not made over REST."""

    def __init__(self, service: Service, keys: Mapping[str, dict[str, str]] | None = None) -> None:
        self.service = service
        self.keys = dict(keys or {})

    async def key(self, name: str) -> dict[str, str]:
        if name not in self.keys:
            async with self.service.gate.registry.change("key_created", "test") as change:
                own = name.removeprefix(ADMIN) if name.startswith(ADMIN) else None
                role = Role.ORG_ADMIN if own else Role.COMPLIANCE
                person = None if own else await officers.enrol(change, f"{OFFICE}/{name.replace(' ', '-')}")
                scope = callers.Scope(organization=own, person=person)
                made = await callers.create_key(change, name, [role], service=False, scope=scope)
            self.keys[name] = {"Authorization": f"Bearer {made.text}"}
        return self.keys[name]

    async def send(self, name: str, method: str, path: str, members: Any = None, **headers: str) -> Any:
        """What came of it; approved by a second officer if it has to be."""
        body: dict[str, Any] = {"json": members}
        if isinstance(members, str):
            body, headers = {"content": members}, headers | {"Content-Type": "text/csv"}
        key = await self.key(name)
        answer = await self.service.client.request(method, f"/v1/{path}", headers=key | headers, **body)
        assert answer.status_code < 300, f"{method} {path}: {answer.text}"
        if answer.status_code == 202:
            location, seen = f"{answer.headers['location']}/approve", {"sha256": answer.json()["sha256"]}
            approved = await self.service.client.post(location, json=seen, headers=await self.key("second officer"))
            assert approved.status_code == 200, approved.text
        return answer.json()

    async def post(self, path: str, members: Any = None, name: str = "officer") -> Any:
        return await self.send(name, "POST", path, members)


@dataclass(frozen=True)
class Founded:
    """What the programmes of all cases have in common: policy, data set, authorities, and whoever is elsewhere."""

    database: str
    keys: Mapping[str, dict[str, str]]
    data_set: str


async def found(service: Service) -> Founded:
    officers = Officers(service)
    await service.activate({name: (POLICIES / name).read_text() for name in FILES})
    made = await officers.post("data-sets?version=case", (POLICIES / "jurisdictions.csv").read_text())
    for kind, slug in AUTHORITY.items():
        await officers.post("authorities", {"authority": slug, "name": slug, "kind": kind})
    await officers.post("organizations", {"organization": ABROAD, "name": ABROAD, "status": "active"})
    await officers.key("second officer")
    return Founded(service.database, officers.keys, made["id"])


@asynccontextmanager
async def loaded(
    document: Document, founded: Founded, running: Any, early: timedelta
) -> AsyncIterator[tuple[Service, dict[str, str]]]:
    """A service in which all that the document says is on record, and a key to ask it with.

    `running(at)` is the service at an instant, over a copy of what was founded. A break-glass is opened at its own.
    """
    glass = document.break_glass
    asked = document.now - early
    begun: AbstractAsyncContextManager[Service] = running(glass.opened if glass and glass.opened else asked)
    async with begun as service:
        officers = Officers(service, founded.keys)
        await _load(officers, document, founded.data_set)
    async with running(asked) as service:
        yield service, officers.keys["officer"]


async def _load(officers: Officers, document: Document, data_set: str) -> None:
    if reviewed_at := document.policy.country_data_reviewed_at:
        await officers.post(f"data-sets/{data_set}/activate", {"reviewed_at": reviewed_at.isoformat()})
    await _models(officers, document)
    await _organizations(officers, document)
    await _people(officers, document)
    await _endpoint(officers, document)
    for grant in document.grants:
        await _grant(officers, grant, document)
    await _agent(officers, document)
    await _fill_seats(officers, document)
    await _screenings(officers, document)
    await _ownership(officers, document)
    await _directives_and_stops(officers, document)
    await _break_glass(officers, document)
    await _standing(officers, document)


async def _models(officers: Officers, document: Document) -> None:
    glass = document.break_glass
    for model in {document.model.id, (glass and glass.model) or document.model.id}:
        named = {"model": model, "authority": "vendor", "name": "Model"}
        await officers.post("models", named | {"versions": ["5.1"], "capabilities": ["vuln-discovery"]})


async def _organizations(officers: Officers, document: Document) -> None:
    named = {document.org.id, *(grant.org for grant in document.grants)}
    named.update(exempt for directive in document.model.directives for exempt in directive.exempt_orgs)
    named.update(each for each in (document.endpoint and document.endpoint.org,) if each)
    named.update(each for each in (document.break_glass and document.break_glass.organization,) if each)
    for slug in named - {ABROAD}:
        ours = slug == document.org.id
        prospect = ours and document.org.status == OrganizationStatus.PROSPECT
        members: dict[str, Any] = {"organization": slug, "name": slug, "status": "prospect" if prospect else "active"}
        if ours:
            members |= {
                "incorporated_in": document.org.incorporated_in,
                "parent_country": document.org.ultimate_parent_country,
            }
        await officers.post("organizations", members)


async def _people(officers: Officers, document: Document) -> None:
    person = document.person
    named = {(grant.org, each) for grant in document.grants for each in grant.listed_persons}
    named |= {(document.org.id, each) for each in (document.break_glass and document.break_glass.people) or ()}
    for organization, external_id in named - {(document.org.id, person and person.id)}:
        new = {"organization": organization, "external_id": external_id, "employment": "employee"}
        await officers.post("people", new)
    if person is None:
        return
    contractor = person.employment == Employment.CONTRACTOR
    member: dict[str, Any] = {
        "organization": document.org.id,
        "external_id": person.id,
        "employment": "contractor" if contractor else "employee",
    }
    await officers.post("people", member, person.requested_by or "requester")
    path = f"people/{document.org.id}/{person.id}"
    obligations = {
        "training_expires": person.training_expires and person.training_expires.isoformat(),
        "acceptable_use": person.aup,
        "technology_control_plan": person.tcp,
        "obligations_evidence": "LMS-1",
    }
    await officers.send(f"{ADMIN}{document.org.id}", "PATCH", path, obligations, **ANY)
    # Who asked, and the person, are refused as approvers: it is as if they had not approved.
    for approver in set(person.approvals) - {person.requested_by, person.id}:
        await officers.post(f"{path}/approve", name=approver)
    if person.review_due and person.review_due > officers.service.now:
        await officers.post(f"{path}/review", {"due": person.review_due.isoformat()}, "reviewer")
    await _assessment(officers, path, document)


async def _assessment(officers: Officers, path: str, document: Document) -> None:
    person = document.person
    assert person is not None
    # Nationality records are kept only for people who are not US persons.
    kept = person.us_person != UsPerson.YES
    members = {
        "us_person": person.us_person,
        "us_basis": person.us_basis,
        "evidence_expires": person.evidence_expires and person.evidence_expires.isoformat(),
        "citizenships": [_held(each) for each in person.citizenships if kept],
        "permanent_residencies": [_held(each) for each in person.residencies if kept],
    }
    await officers.send("officer", "PUT", f"{path}/assessment", members, **ANY)


def _held(record: Any) -> dict[str, Any]:
    dates = {"acquired": record.acquired, "ended": record.ended}
    return {"country": record.c} | {name: day.isoformat() for name, day in dates.items() if day}


async def _endpoint(officers: Officers, document: Document) -> None:
    endpoint = document.endpoint
    if endpoint is not None and endpoint.registered:
        named = {"organization": endpoint.org or ABROAD, "external_id": endpoint.id}
        await officers.post("endpoints", named | {"attested": endpoint.attested})


async def _grant(officers: Officers, grant: GrantPart, document: Document) -> None:
    members = {
        "authority": AUTHORITY[grant.authority],
        "reference": grant.id,
        "organization": grant.org,
        "model": document.model.id,
        "not_before": grant.not_before.isoformat(),
        "not_after": grant.not_after and grant.not_after.isoformat(),
        "versions": grant.model_versions,
        "capabilities": grant.capabilities,
        "purposes": grant.purposes,
        "foreign_nationals": grant.foreign_nationals,
        "listed_people": grant.listed_persons,
        "excluded_groups": grant.excluded_groups,
        "nationality_basis": grant.nationality_basis,
        "allowed_countries": grant.allowed_countries,
        "contractors": grant.contractors,
        "agents": grant.agents,
        "seat_cap": grant.seat_cap,
    }
    made = await officers.post("grants", members)
    if grant.status != GrantStatus.DRAFT:
        await officers.post(f"grants/{made['id']}/activate")
    for status, step in ((GrantStatus.SUSPENDED, "suspend"), (GrantStatus.REVOKED, "revoke")):
        if grant.status == status:
            await officers.post(f"grants/{made['id']}/{step}")


async def _agent(officers: Officers, document: Document) -> None:
    agent, person = document.agent, document.person
    if agent is None or person is None:
        return
    members = {
        "organization": document.org.id,
        "external_id": agent.id,
        "sponsor": person.id,
        "scopes": agent.scopes,
        "expires": agent.expires and agent.expires.isoformat(),
        "runtime_country": agent.runtime_country,
        "depth": agent.depth,
    }
    made = await officers.post("agents", members)
    for status, step in ((AgentStatus.SUSPENDED, "suspend"), (AgentStatus.REVOKED, "revoke")):
        if agent.status == status:
            await officers.post(f"agents/{made['id']}/{step}")


async def _screenings(officers: Officers, document: Document) -> None:
    person = document.person
    found: list[tuple[dict[str, Any], ScreeningPart | None]] = [({}, document.org.screening)]
    if person is not None:
        found.append(({"person": person.id}, person.screening))
    for named, screening in found:
        if screening is None:
            continue
        adjudicated = screening.status == ScreeningStatus.FALSE_POSITIVE
        item = {"organization": document.org.id, **named, "list_version": screening.list_version}
        item |= {"status": "pending" if adjudicated else screening.status}
        item |= {"screened_at": screening.screened_at and screening.screened_at.isoformat()}
        await officers.post("screenings", {"items": [item]})
        if adjudicated:
            verdict = {"organization": document.org.id, **named, "status": "false_positive"}
            await officers.post("screenings/adjudicate", verdict)


async def _ownership(officers: Officers, document: Document) -> None:
    shares = {"blocked": document.org.blocked_owner_aggregate_pct, "listed": document.org.listed_owner_aggregate_pct}
    owners = [
        {"owner": f"{standing} {half}", "percent": f"{share / 2:.6f}", standing: True}
        for standing, share in shares.items()
        if share
        for half in (1, 2)
    ]
    path = f"organizations/{document.org.id}"
    if owners:
        await officers.send("officer", "PUT", f"{path}/ownership", {"owners": owners}, **ANY)
    if document.org.ownership_change_pending:
        await officers.send("officer", "PATCH", path, {"ownership_change_pending": True}, **ANY)


async def _directives_and_stops(officers: Officers, document: Document) -> None:
    for directive in document.model.directives:
        members = {
            "authority": "usg",
            "reference": directive.id,
            "model": document.model.id,
            "versions": directive.model_versions,
            "applies_to": directive.applies_to,
            "from": directive.from_.isoformat(),
            "until": directive.until and directive.until.isoformat(),
            "exempt_organizations": directive.exempt_orgs,
        }
        await officers.post("directives", members)
    if document.policy.affiliates_rule_in_force:
        await officers.post("switches", {"name": "affiliates_rule", "from": "2020-01-01T00:00:00Z"})
    if document.model.emergency_stop:
        await officers.post("stops", {"scope": "model", "target": document.model.id})
    if document.incident_lock is not None:
        lock = {"scope": "organization", "target": document.org.id, "incident": document.incident_lock.id or "INC-1"}
        await officers.post("stops", lock)


async def _break_glass(officers: Officers, document: Document) -> None:
    glass = document.break_glass
    if glass is None:
        return
    assert glass.opened and glass.expires
    opening: Mapping[str, Any] = {
        "organization": glass.organization or document.org.id,
        "incident": glass.incident,
        "people": glass.people,
        "model": glass.model,
        "hours": (glass.expires - glass.opened) / timedelta(hours=1),
    }
    opener, client = glass.opened_by or "opener", officers.service.client
    made = await client.post("/v1/break-glass", json=opening, headers=await officers.key(opener))
    assert made.status_code == 202, made.text
    # The person who asks, and the opener, are refused: it is as if they had not approved. With the second it is open.
    person = document.person and document.person.id
    for approver in sorted(set(glass.approvers) - {opener, person})[:2]:
        seen, location = {"sha256": made.json()["sha256"]}, f"{made.headers['location']}/approve"
        approved = await client.post(location, json=seen, headers=await officers.key(approver))
        assert approved.status_code in {200, 202}, approved.text


async def _standing(officers: Officers, document: Document) -> None:
    """What takes access away comes last: much cannot be done for whoever has left."""
    person = document.person
    if person is not None:
        path = f"people/{document.org.id}/{person.id}"
        if person.status == PersonStatus.SUSPENDED:
            await officers.post(f"{path}/suspend")
        if person.employment == Employment.ENDED:
            await officers.post(f"{path}/revoke")
    ends = {OrganizationStatus.SUSPENDED: "suspend", OrganizationStatus.TERMINATED: "revoke"}
    if document.org.status in ends:
        await officers.post(f"organizations/{document.org.id}/{ends[document.org.status]}")


# --- the seats that others hold ---------------------------------------------------------------------------------


async def _fill_seats(officers: Officers, document: Document) -> None:
    """Where no seat is left, as many colleagues as there are seats are enrolled, and have asked.

    From abroad they take a seat of both authorities; at home a US person needs no government's grant, and takes none.
    """
    abroad, home = (_places(document, kind) for kind in (AuthorityKind.GOVERNMENT, AuthorityKind.VENDOR))
    if not (abroad or home):
        return
    organization, person = document.org.id, document.person
    names = [f"colleague-{number}" for number in range(max(abroad, home))]
    header = "external_id,employment,training_expires,acceptable_use,technology_control_plan,obligations_evidence\n"
    listed = "".join(f"{name},employee,2099-01-01,yes,yes,LMS-1\n" for name in names)
    await officers.post("people/import", header + listed, f"{ADMIN}{organization}")
    await officers.post("endpoints", {"organization": organization, "external_id": "colleagues", "attested": True})
    held = [person.id] if person and document.seat.assigned else []
    own = {"organization": organization, "status": "clear", "screened_at": officers.service.now.isoformat()}
    await officers.post("screenings", {"items": [own, *(own | {"person": name} for name in names + held)]})
    for name in held:
        await _ask(officers, document, name, abroad=True)
    for number, name in enumerate(names):
        path = f"people/{organization}/{name}"
        status = {"us_person": "yes", "us_basis": "citizen"}
        await officers.send("officer", "PUT", f"{path}/assessment", status, **ANY)
        for approver in ("first approver", "second approver"):
            await officers.post(f"{path}/approve", name=approver)
        await officers.post(f"{path}/review", {"due": "2099-01-01T00:00:00Z"}, "reviewer")
        await _ask(officers, document, name, abroad=number < abroad)


def _places(document: Document, kind: AuthorityKind) -> int:
    """The seats that colleagues hold under this kind's grant, if none of it is left."""
    for grant in document.grants:
        used = document.seat.used.get(grant.id, 0)
        if grant.authority == kind and grant.seat_cap and used == grant.seat_cap:
            return used - document.seat.assigned
    return 0


async def _ask(officers: Officers, document: Document, name: str, *, abroad: bool) -> None:
    grants = [grant for grant in document.grants if grant.org == document.org.id]
    allowed = set.intersection(*({normalise(each) or "" for each in grant.allowed_countries} for grant in grants))
    first = grants[0]
    question = {
        "subject": {"type": "person", "id": f"{document.org.id}/{name}"},
        "action": {"name": "invoke", "properties": {"capability": first.capabilities[0], "purpose": first.purposes[0]}},
        "resource": {
            "type": "model",
            "id": document.model.id,
            "properties": {"version": f"{first.model_versions[0]}.0"},
        },
        "context": {
            "location": {"country": min(allowed - {"US"}) if abroad else "US"},
            "endpoint": "colleagues",
            "session": {"mfa": "phishing_resistant"},
        },
    }
    key = await officers.key("officer")
    answer = await officers.service.client.post("/access/v1/evaluation", json=question, headers=key)
    assert answer.json()["decision"] is True, answer.text
