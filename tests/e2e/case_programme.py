"""A case document as a programme in a database: what it says is on record, imported like anybody's data."""

import csv
import io
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psycopg

from mythos_gate.decision.cases import Document
from tests.changes import bump
from tests.service import Service

ABROAD = "elsewhere"
PERSON_COLUMNS = (
    "organization", "external_id", "status", "employment", "us_person", "us_basis", "citizenships",
    "permanent_residencies", "evidence_expires", "training_expires", "acceptable_use", "technology_control_plan",
    "approvals", "requested_by", "review_due",
)  # fmt: skip


def _csv(*rows: Mapping[str, Any]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return out.getvalue()


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.isoformat()
        case list():
            return ";".join(value)
        case _:
            return str(value)


async def load(service: Service, document: Document) -> None:
    """Everything that the document says is on record. Its organization's and people's ids are external ids here."""
    await service.load(**_registry(document))
    if document.break_glass is not None:
        glass = document.break_glass
        await service.load(
            break_glass=_csv(
                {
                    "organization": glass.organization or document.org.id,
                    "incident": glass.incident,
                    "people": glass.people,
                    "model": glass.model,
                    "opened_by": glass.opened_by or "nobody",
                    "approvers": glass.approvers,
                    "opened": glass.opened,
                    "expires": glass.expires,
                }
            )
        )
    await service.review(document.policy.country_data_reviewed_at)
    _hold_seats(service, document)


def _registry(document: Document) -> dict[str, str]:
    files = {
        "authorities": "authority,name,kind\nvendor,Vendor,vendor\nusg,Government,government\n".replace(
            "VENDOR", "vendor"
        ).replace("USG", "usg"),
        "models": _csv(
            *(
                {
                    "model": model,
                    "authority": "vendor",
                    "name": "Model",
                    "versions": "5.1",
                    "capabilities": "vuln-discovery",
                }
                for model in sorted(
                    {document.model.id, (document.break_glass and document.break_glass.model) or document.model.id}
                )
            )
        ),
        "organizations": _organizations(document),
    }
    ownerships = _ownerships(document)
    if ownerships:
        files["ownerships"] = _csv(*ownerships)
    if people := _people(document):
        files["people"] = _csv(*people)
    if document.grants:
        files["grants"] = _csv(*(_grant(grant, document) for grant in document.grants))
    if document.agent is not None:
        files["agents"] = _agent(document)
    if document.endpoint is not None and document.endpoint.registered:
        files["endpoints"] = _csv(
            {
                "organization": document.endpoint.org or ABROAD,
                "external_id": document.endpoint.id,
                "attested": document.endpoint.attested,
            }
        )
    if document.model.directives:
        files["directives"] = _csv(*(_directive(directive, document) for directive in document.model.directives))
    files["screenings"] = _screenings(document)
    if document.policy.affiliates_rule_in_force:
        files["switches"] = "name,from,until\naffiliates_rule,now-1d,\n"
    if document.model.emergency_stop:
        files["stops"] = _csv({"scope": "model", "target": document.model.id, "incident": ""})
    elif document.incident_lock is not None:
        files["stops"] = _csv(
            {"scope": "organization", "target": document.org.id, "incident": document.incident_lock.id or "INC-1"}
        )
    return files


def _organizations(document: Document) -> str:
    ours = {
        "organization": document.org.id,
        "name": "Ours",
        "status": document.org.status,
        "incorporated_in": document.org.incorporated_in,
        "parent_country": document.org.ultimate_parent_country,
        "ownership_change_pending": document.org.ownership_change_pending,
    }
    named = {ABROAD, *(grant.org for grant in document.grants)}
    named.update(exempt for directive in document.model.directives for exempt in directive.exempt_orgs)
    if document.endpoint is not None and document.endpoint.org is not None:
        named.add(document.endpoint.org)
    if document.break_glass is not None and document.break_glass.organization is not None:
        named.add(document.break_glass.organization)
    blank = dict.fromkeys(ours, None) | {"status": "active", "parent_country": "US"}
    return _csv(ours, *(blank | {"organization": slug, "name": slug} for slug in sorted(named - {document.org.id})))


def _ownerships(document: Document) -> list[dict[str, Any]]:
    shares = {"blocked": document.org.blocked_owner_aggregate_pct, "listed": document.org.listed_owner_aggregate_pct}
    return [
        {
            "organization": document.org.id,
            "owner": f"{standing} {half}",
            "percent": share / 2,
            "blocked": standing == "blocked",
            "listed": standing == "listed",
        }
        for standing, share in shares.items()
        if share
        for half in (1, 2)
    ]


def _grant(grant: Any, document: Document) -> dict[str, Any]:
    return {
        "authority": "vendor" if grant.authority == "vendor" else "usg",
        "reference": grant.id,
        "organization": grant.org,
        "model": document.model.id,
        "status": grant.status,
        "not_before": grant.not_before,
        "not_after": grant.not_after,
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


def _people(document: Document) -> list[dict[str, Any]]:
    """The person of the case, and whoever else an instrument names."""
    rows = [_person(document)] if document.person is not None else []
    named = {(grant.org, person) for grant in document.grants for person in grant.listed_persons}
    if document.break_glass is not None:
        named.update((document.org.id, person) for person in document.break_glass.people or ())
    ours = {(row["organization"], row["external_id"]) for row in rows}
    blank = dict.fromkeys(PERSON_COLUMNS, None) | {"employment": "employee"}
    return rows + [blank | {"organization": home, "external_id": person} for home, person in sorted(named - ours)]


def _person(document: Document) -> dict[str, Any]:
    person = document.person
    assert person is not None
    # Nationality records are kept only for people who are not US persons.
    kept = person.us_person != "yes"
    values = (
        document.org.id, person.id, person.status, person.employment, person.us_person, person.us_basis,
        _nationalities(person.citizenships) if kept else None, _nationalities(person.residencies) if kept else None,
        person.evidence_expires, person.training_expires, person.aup, person.tcp, person.approvals, person.requested_by,
        person.review_due,
    )  # fmt: skip
    return dict(zip(PERSON_COLUMNS, values, strict=True))


def _nationalities(records: list[Any]) -> list[str]:
    return [
        record.c
        + (f"@{record.acquired or ''}" if record.acquired or record.ended else "")
        + (f"..{record.ended}" if record.ended else "")
        for record in records
    ]


def _agent(document: Document) -> str:
    agent, person = document.agent, document.person
    assert agent is not None
    assert person is not None
    return _csv(
        {
            "organization": document.org.id,
            "external_id": agent.id,
            "sponsor": person.id,
            "status": agent.status,
            "scopes": agent.scopes,
            "expires": agent.expires,
            "runtime_country": agent.runtime_country,
            "depth": agent.depth,
        }
    )


def _directive(directive: Any, document: Document) -> dict[str, Any]:
    return {
        "authority": "usg",
        "reference": directive.id,
        "model": document.model.id,
        "versions": directive.model_versions,
        "applies_to": directive.applies_to,
        "from": directive.from_,
        "until": directive.until,
        "exempt_organizations": directive.exempt_orgs,
    }


def _screenings(document: Document) -> str:
    rows = []
    if document.org.screening is not None:
        rows.append(
            {
                "organization": document.org.id,
                "person": "",
                "status": document.org.screening.status,
                "screened_at": document.org.screening.screened_at,
            }
        )
    if document.person is not None and document.person.screening is not None:
        screening = document.person.screening
        rows.append(
            {
                "organization": document.org.id,
                "person": document.person.id,
                "status": screening.status,
                "screened_at": screening.screened_at,
            }
        )
    return _csv(*rows) if rows else "organization,person,status\n"


def _hold_seats(service: Service, document: Document) -> None:
    """Seats are claimed, never imported: here they are as they were before the case begins."""
    with psycopg.connect(service.database) as owner:
        for reference, used in document.seat.used.items():
            owner.execute(
                "UPDATE seat_counts SET used = %s FROM grants g WHERE g.id = grant_id AND g.reference = %s",
                [used, reference],
            )
        if document.seat.assigned:
            owner.execute(
                "INSERT INTO seats (grant_id, person_id, organization_id) SELECT g.id, p.id, organization_id FROM grants g JOIN people p USING (organization_id)"
            )
        owner.execute(*bump())


def question(document: Document) -> dict[str, Any]:
    """The case's request as AuthZEN has it; what is on record is named by its external id."""
    asked = document.asked()
    endpoint = document.endpoint
    home = endpoint.org if endpoint and endpoint.org else ABROAD
    return {
        "subject": {"type": asked.subject_type, "id": f"{document.org.id}/{asked.subject_id}"},
        "action": {"name": asked.action, "properties": {"capability": asked.capability, "purpose": asked.purpose}},
        "resource": {"type": "model", "id": asked.model, "properties": {"version": asked.version}},
        "context": {
            "location": document.location.model_dump(),
            "endpoint": f"{home}/{endpoint.id}" if endpoint else None,
            "session": {"mfa": asked.mfa},
            "break_glass": document.break_glass
            and f"{document.break_glass.organization or document.org.id}/{document.break_glass.incident}",
        },
    }
