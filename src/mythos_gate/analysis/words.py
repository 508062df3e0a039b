"""Facts in words that an officer reads: one clause for each value of each fact."""

from collections.abc import Iterable, Mapping

from mythos_gate.analysis.consistency import ORDINARY
from mythos_gate.decision.facts import UNKNOWN_SUBJECT, Vector

_OF_A_GRANT = {
    "none": "there is no {} grant",
    "not_yet_valid": "the {} grant is not valid yet",
    "expired": "the {} grant has expired",
    "suspended": "the {} grant is suspended",
    "revoked": "the {} grant is revoked",
    "version": "the {} grant does not name this model version",
    "capability": "the {} grant does not name this capability",
    "purpose": "the {} grant does not name this purpose",
    "nationality": "the {} grant excludes the person's country of nationality",
    "foreign_nationals": "the {} grant does not cover this foreign person",
    "contractor": "the {} grant does not cover contractors",
    "location": "the {} grant does not cover the place asked from",
    "agents": "the {} grant does not cover agents",
    "agent_runtime": "the {} grant does not cover the place where the agent runs",
    "seat": "the {} grant has no free seat",
    "covered": "the {} grant covers the request",
}

CLAUSES: Mapping[str, Mapping[str, str]] = {
    "integrity": {
        "clock_untrusted": "the gate's clock cannot be trusted",
        "reference_data_overdue": "the country data is past its review date",
        "sound": "the gate's clock and country data are sound",
    },
    "subject": {
        "unknown": "nobody on record asks",
        "agent": "an agent asks",
        "person": "a person asks",
    },
    "stop": {
        "emergency": "a kill switch is on",
        "incident": "an incident lock is on",
        "none": "no stop is on",
    },
    "directive": {
        "applies": "a government directive suspends the model for this request",
        "exempt": "the organization is exempt from the directive",
        "none": "no directive concerns the request",
    },
    "organization": {
        "prospect": "the organization is only a prospect",
        "active": "the organization is active",
        "suspended": "the organization is suspended",
        "terminated": "the organization's access has been terminated",
    },
    "ownership": {
        "match": "the organization is on a screening list",
        "blocked": "blocked persons own the organization to the limit",
        "listed_affiliate": "listed parties own the organization to the limit",
        "restricted_parent": "the organization's parent is in a restricted country",
        "review_pending": "the organization's ownership waits for review",
        "clear": "the organization's ownership is clear",
    },
    "vendor": {value: clause.format("vendor's") for value, clause in _OF_A_GRANT.items()},
    "government": {value: clause.format("government's") for value, clause in _OF_A_GRANT.items()},
    "person": {
        "suspended": "the person is suspended",
        "ended": "the person's employment has ended",
        "active": "the person is active",
    },
    "presence": {
        "unverified": "the person's status as a US person is not verified",
        "us_domestic": "a US person is in the United States",
        "us_abroad": "a US person is abroad",
        "foreign_domestic": "a foreign person is in the United States",
        "foreign_abroad": "a foreign person is abroad",
    },
    "screening": {
        "match": "the person is a confirmed match on a screening list",
        "pending": "a possible match of the person waits for adjudication",
        "incomplete": "the person's screening is incomplete",
        "stale": "the person's screening is too old",
        "clear": "the person's screening is clear",
    },
    "nationality": {
        "not_assessed": "nationality is not assessed",
        "embargoed": "the person's country of nationality is embargoed",
        "unknown_code": "the person's country of nationality is no known country",
        "historical": "the person's country of nationality no longer exists",
        "undated": "which nationality of the person is the most recent cannot be told",
        "stateless": "the person has no nationality to attribute",
        "evidence_expired": "the evidence of the person's nationality has expired",
        "indeterminate": "the country data does not say how to treat the person's country of nationality",
        "clear": "the person's nationality is clear",
    },
    "location": {
        "embargoed": "the request comes from an embargoed place",
        "unverified": "where the request comes from is not verified",
        "conflict": "signals disagree about where the request comes from",
        "restricted": "the request comes from a restricted country",
        "permitted": "the request comes from a permitted place",
    },
    "endpoint": {
        "unregistered": "the endpoint is not registered",
        "other_organization": "the endpoint is another organization's",
        "unattested": "the endpoint is not attested",
        "attested": "the endpoint is attested",
    },
    "session": {
        "weak": "the session lacks phishing-resistant sign-in",
        "strong": "the session is strong",
    },
    "training": {
        "expired": "the person's training has expired",
        "current": "the person's training is current",
    },
    "agreements": {
        "missing": "an agreement of the person is missing",
        "signed": "the person's agreements are signed",
    },
    "approval": {
        "incomplete": "the person's approval is incomplete",
        "complete": "the person's approval is complete",
    },
    "review": {
        "overdue": "the person's access review is overdue",
        "current": "the person's access review is current",
    },
    "agent": {
        "none": "no agent is involved",
        "unregistered": "the agent is not registered",
        "credential_expired": "the agent's credential has expired",
        "scope_exceeded": "the agent asks outside its own scope",
        "depth_exceeded": "the agent's chain of delegation is too long or broken",
        "registered": "the agent is registered",
    },
    "break_glass": {
        "none": "no break-glass is asked for",
        "invalid": "the break-glass is not valid",
        "active": "a break-glass is active",
    },
}


def clause(fact: str, value: str) -> str:
    return CLAUSES[fact][value]


def listed(clauses: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = clauses
    return f"{', '.join(most)} and {last}" if most else last


def unusual(facts: Vector) -> dict[str, str]:
    """The facts that are not the ordinary ones."""
    return {fact: value for fact, value in facts.items() if value != ORDINARY[fact]}


def situation(facts: Vector) -> str:
    """What is out of the ordinary, in one clause; the rest is in order."""
    said = unusual(facts)
    # Said already by whoever asks, and of foreign persons by their presence.
    shown = {fact: value for fact, value in said.items() if not _follows(fact, value, said)}
    if not shown:
        return "everything is in order"
    return f"{listed(clause(fact, value) for fact, value in shown.items())}; everything else is in order"


def _follows(fact: str, value: str, said: Mapping[str, str]) -> bool:
    if said.get("subject") == "unknown":
        return fact != "subject" and UNKNOWN_SUBJECT.get(fact) == value
    return (fact, value) in {("agent", "registered"), ("nationality", "clear")}
