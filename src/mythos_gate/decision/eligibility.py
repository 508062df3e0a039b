"""Eligibility: what a person would be answered as things stand, and what there is to mend.

Asked is the *standing request* for each model that the organization's grants name: from the work country, in a strong
session, on an endpoint of the organization (an attested one, if there is one), for the version, capability and purpose
that most authorities' grants agree on.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import product

from mythos_gate.decision import facts
from mythos_gate.decision.library import Connection
from mythos_gate.decision.policy import Reason
from mythos_gate.decision.records import Loaded, Pip
from mythos_gate.decision.request import Location, Request
from mythos_gate.terms import GrantStatus, Mfa, Outcome

MOST_REQUESTS = 8  # of one person about one model
# What an organization is told instead of a code.
TOLD = {"NOT_ELIGIBLE": "not_eligible", "COMPLIANCE_REVIEW": "in_compliance_review"}
# No model named: nobody's grant is for it.
NO_MODEL = ""

# Where no work country is on record, that is what to mend: no gateway has said anything about a location.
UNPLACED = ("LOCATION_UNVERIFIED", "Record the country in which the person works.", "org_admin")
NOT_COVERED = "LOCATION_NOT_COVERED"

# What the standing requests of each person are made of, in the order of the people's ids.
STANDING = """
SELECT p.id, p.external_id, o.slug, p.work_country,
  ARRAY(SELECT DISTINCT g.model_id FROM grants g WHERE g.organization_id = p.organization_id AND g.status <> 'draft'
        ORDER BY 1) AS models,
  (SELECT e.id FROM endpoints e WHERE e.organization_id = p.organization_id AND e.status = 'active'
   ORDER BY EXISTS (SELECT FROM stops s WHERE s.endpoint_id = e.id AND s.lifted_at IS NULL), e.attested DESC, e.id
   LIMIT 1) AS endpoint
FROM unnest($1::text[]) AS asked JOIN people p ON p.id = asked JOIN organizations o ON o.id = p.organization_id
ORDER BY p.id
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """The best answer about one model. `reasons`: of every matching row, those that are reported first."""

    model: str | None
    outcome: Outcome
    reasons: tuple[Reason, ...]
    policy_revision: int
    nowhere: bool = False  # no work country is on record

    @property
    def status(self) -> str:
        """`eligible`, `not_eligible`, `in_compliance_review` or `action_needed`, as the organization may be told."""
        if self.outcome == Outcome.ALLOW:
            return "eligible"
        seen = [reason.org_admin_sees for reason in self.reasons]
        # What is reported speaks; where that can be mended, what stands behind it.
        return next((TOLD[each] for each in (seen[0], *TOLD) if each in seen and each in TOLD), "action_needed")

    @property
    def actions(self) -> Iterator[tuple[str, str, str]]:
        """Code, what to do, and who does it; nothing of what the organization may not know."""
        for reason in self.reasons if self.outcome != Outcome.ALLOW else ():
            shown = reason.org_admin_sees
            if self.nowhere and reason.code == UNPLACED[0]:
                yield UNPLACED
            elif shown not in TOLD and not (self.nowhere and reason.code == NOT_COVERED):
                yield reason.code if shown.startswith("code") else shown, reason.how_to_fix, reason.fixer


@dataclass(frozen=True, slots=True)
class Eligibility:
    """One person's standing for each model."""

    person: str
    name: str
    models: tuple[Standing, ...]


# Of several answers about one model the one named first.
ORDER = ("eligible", "action_needed", "in_compliance_review", "not_eligible")


async def of(
    connection: Connection,
    pip: Pip,
    people: Sequence[str],
) -> list[Eligibility]:
    """Of each person on record, in the order of their ids; all in one snapshot."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        found = []
        for row in await connection.fetch(STANDING, list(people)):
            standings = []
            for model in row["models"] or [NO_MODEL]:
                request = _request(row["id"], row["work_country"], row["endpoint"], model)
                (loaded,) = await pip.load(lambda: nullcontext(connection), None, [request])
                await asyncio.sleep(0)  # decisions and stops go first
                standings.append(_best(loaded, request))
            found.append(Eligibility(row["id"], f"{row['slug']}/{row['external_id']}", tuple(standings)))
        return found


def _request(person: str, country: str | None, endpoint: str | None, model: str) -> Request:
    return Request(
        subject_type="person",
        subject_id=person,
        action="invoke",
        capability=None,
        purpose=None,
        resource_type="model",
        model=model,
        version=None,
        location=Location(country),
        endpoint=endpoint,
        mfa=Mfa.PHISHING_RESISTANT,
    )


def _best(loaded: Loaded, request: Request) -> Standing:
    """The answer that says most for the person: what they could ask counts, not the worst that they could."""
    found = []
    for version, capability, purpose in _uses(loaded.records.grants)[:MOST_REQUESTS]:
        asked = replace(request, version=f"{version}.0", capability=capability, purpose=purpose)
        decision = loaded.policy.decide(facts.derive(loaded.records, asked, loaded.now).vector)
        reasons = tuple(loaded.policy.reasons[code] for code in loaded.policy.all_codes(decision))
        nowhere = request.location.country is None
        found.append(Standing(request.model or None, decision.outcome, reasons, loaded.policy_revision, nowhere))
        if decision.allowed:
            break
    return min(found, key=lambda standing: ORDER.index(standing.status))


def _uses(grants: Sequence[facts.Grant]) -> list[tuple[str, str | None, str | None]]:
    """Version, capability and purpose as grants name them; those that most authorities agree on, the newest first."""
    agreed: dict[tuple[str, str | None, str | None], set[str]] = {}
    for grant in [each for each in grants if each.status == GrantStatus.ACTIVE] or grants:
        for use in product(grant.versions, grant.capabilities, grant.purposes):
            agreed.setdefault(use, set()).add(grant.authority)
    most = max((len(authorities) for authorities in agreed.values()), default=0)
    uses = [use for use, authorities in agreed.items() if len(authorities) == most]
    return sorted(uses, key=lambda use: ([-int(part) for part in use[0].split(".")], use)) or [("0.0", None, None)]
