"""An independent reading of domain.md: from a case document to the expected decision.

Written from the page and its data alone, for differential tests; it shares no code with the product.
Every passage that follows a sentence of domain.md closely says so. Where the page leaves room, the
comment starts with "Reading:".

Run it to check the acceptance cases: python tests/decision/oracle.py cases.json table.csv jurisdictions.csv
"""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pycountry

Document = dict[str, Any]
Facts = dict[str, str]

US = "US"
US_TERRITORIES = {"PR", "GU", "AS", "VI", "MP", "UM"}
MACAU = "MO"
STATELESS_CODES = {"XXA", "XXB", "XXC", "XXX"}
UNKNOWN_TRAVEL_CODES = {"GBN", "GBO", "EUE", "XOM", "UNK", "RKS"}
EMBARGOED_REGIONS = {"UA-43", "UA-40", "UA-14", "UA-09"}
ALIASES = {
    "UK": "GB",
    "EL": "GR",
    "TURKEY": "TR",
    "BURMA": "MM",
    "MACEDONIA": "MK",
    "NORTH MACEDONIA": "MK",
    "SWAZILAND": "SZ",
    "MACAU": "MO",
    "RUSSIA": "RU",
    "SOUTH KOREA": "KR",
    "CZECH REPUBLIC": "CZ",
}

EAR = "EAR_MOST_RECENT"
ITAR = "ITAR_ALL_EVER"
STRICT = "STRICT_ANY_CURRENT"

COVERAGE_ORDER = [
    "not_yet_valid",
    "expired",
    "suspended",
    "revoked",
    "version",
    "capability",
    "purpose",
    "nationality",
    "foreign_nationals",
    "contractor",
    "location",
    "agents",
    "agent_runtime",
    "seat",
    "covered",
]

NATIONALITY_ORDER = [
    "embargoed",
    "unknown_code",
    "historical",
    "undated",
    "stateless",
    "evidence_expired",
    "indeterminate",
]

UNKNOWN_SUBJECT_FACTS = {
    "subject": "unknown",
    "organization": "terminated",
    "ownership": "review_pending",
    "vendor": "none",
    "government": "none",
    "person": "ended",
    "presence": "unverified",
    "screening": "incomplete",
    "nationality": "not_assessed",
    "training": "expired",
    "agreements": "missing",
    "approval": "incomplete",
    "review": "overdue",
    "agent": "none",
}

SPONSOR_TIERS = {"person", "relationship", "obligations"}


# --------------------------------------------------------------------------------------------------
# The answer
# --------------------------------------------------------------------------------------------------


def expect(document: Document, table: list[dict[str, str]], jurisdictions: list[dict[str, str]]) -> dict[str, Any]:
    """The decision on a full case document; `table` and `jurisdictions` are rows as csv.DictReader gives them."""
    facts = derive(document, atlas_of(jurisdictions))
    return {**decide(facts, table), "facts": facts}


# --------------------------------------------------------------------------------------------------
# From facts to a decision
# --------------------------------------------------------------------------------------------------


def matches(row: dict[str, str], facts: Facts) -> bool:
    for cell in row["when"].split(";"):
        if not cell.strip():
            continue
        name, wanted = (part.strip() for part in cell.split("=", 1))
        negated = wanted.startswith("!")
        values = [value.strip() for value in wanted.removeprefix("!").split("|")]
        if (facts[name] in values) == negated:
            return False
    return True


def each_once(codes: list[str]) -> list[str]:
    return list(dict.fromkeys(codes))


def decide(facts: Facts, table: list[dict[str, str]]) -> dict[str, Any]:
    # sorted() is stable: by priority, then table order.
    by_priority = sorted(table, key=lambda row: int(row["priority"]))
    hits = [row for row in by_priority if matches(row, facts)]

    break_glass_active = facts["break_glass"] == "active"
    denies = [row for row in hits if row["effect"] == "deny"]
    allows = [row for row in hits if row["effect"] == "allow"]

    # "While break_glass=active, rows with bypassable=yes do not count"
    passed_over: list[dict[str, str]] = []
    if break_glass_active:
        passed_over = [row for row in denies if row["bypassable"] == "yes"]
        denies = [row for row in denies if row["bypassable"] != "yes"]
    bypassed = each_once([row["reason"] for row in passed_over])

    # "For an agent, hits in the tiers person, relationship and obligations are its sponsor's"
    sponsors: list[dict[str, str]] = []
    if facts["subject"] == "agent":
        sponsors = [row for row in denies if row["tier"] in SPONSOR_TIERS]
        denies = [row for row in denies if row["tier"] not in SPONSOR_TIERS]
    if sponsors:
        one_hit = {
            "priority": "82",
            "tier": "agent",
            "disposition": "DENY",
            "reason": "AGENT_SPONSOR_DENIED",
        }
        denies = sorted([*denies, one_hit], key=lambda row: int(row["priority"]))

    if denies:
        tiers_in_order = each_once([row["tier"] for row in by_priority])
        first_tier = min((row["tier"] for row in denies), key=tiers_in_order.index)
        reported = [row for row in denies if row["tier"] == first_tier]
        reasons = each_once([row["reason"] for row in reported])
        # Reading: the cause belongs to the hit, so it is told only where the hit is.
        cause = []
        if "AGENT_SPONSOR_DENIED" in reasons:
            cause = each_once([row["reason"] for row in sponsors])
        if break_glass_active:
            reasons = [*reasons, "BREAK_GLASS_NOT_PERMITTED"]
        return {
            "decision": reported[0]["disposition"],
            "primary_reason": reasons[0],
            "all_reasons_in_tier": reasons,
            "cause": cause,
            "bypassed": bypassed,
        }

    if allows:
        # "if any was passed over, the allow is ALLOW_BREAK_GLASS, otherwise ALLOW"
        code = "ALLOW_BREAK_GLASS" if passed_over else "ALLOW"
        decision = "ALLOW"
    else:
        code = "NO_APPLICABLE_RULE"
        decision = "DENY"
    return {
        "decision": decision,
        "primary_reason": code,
        "all_reasons_in_tier": [code],
        "cause": [],
        "bypassed": bypassed,
    }


# --------------------------------------------------------------------------------------------------
# From records to facts
# --------------------------------------------------------------------------------------------------


def derive(document: Document, atlas: Atlas) -> Facts:
    now = instant(document["now"])
    known = document.get("person") is not None
    is_agent = document.get("agent") is not None

    subject_facts = derive_known_subject(document, atlas, now) if known else dict(UNKNOWN_SUBJECT_FACTS)

    facts = {
        "integrity": integrity(document.get("policy") or {}, now),
        "stop": stop(document),
        "directive": directive(document, subject_facts["presence"], now),
        "location": location(document, atlas),
        "endpoint": endpoint(document),
        # "an agent's is always strong". Reading: also that of an agent without a sponsor on record.
        "session": session(document, is_agent),
        "break_glass": break_glass(document, now),
        **subject_facts,
    }
    return {name: facts[name] for name in FACT_VALUES}


# The closed set of values of each fact, to check that generated documents reach all of them.
FACT_VALUES = {
    "integrity": ["clock_untrusted", "reference_data_overdue", "sound"],
    "subject": ["unknown", "agent", "person"],
    "stop": ["emergency", "incident", "none"],
    "directive": ["applies", "exempt", "none"],
    "organization": ["prospect", "active", "suspended", "terminated"],
    "ownership": ["match", "blocked", "listed_affiliate", "restricted_parent", "review_pending", "clear"],
    "vendor": ["none", *COVERAGE_ORDER],
    "government": ["none", *COVERAGE_ORDER],
    "person": ["suspended", "ended", "active"],
    "presence": ["unverified", "us_domestic", "us_abroad", "foreign_domestic", "foreign_abroad"],
    "screening": ["match", "pending", "incomplete", "stale", "clear"],
    "nationality": ["not_assessed", *NATIONALITY_ORDER, "clear"],
    "location": ["embargoed", "unverified", "conflict", "restricted", "permitted"],
    "endpoint": ["unregistered", "other_organization", "unattested", "attested"],
    "session": ["weak", "strong"],
    "training": ["expired", "current"],
    "agreements": ["missing", "signed"],
    "approval": ["incomplete", "complete"],
    "review": ["overdue", "current"],
    "agent": ["none", "unregistered", "credential_expired", "scope_exceeded", "depth_exceeded", "registered"],
    "break_glass": ["none", "invalid", "active"],
}


def derive_known_subject(document: Document, atlas: Atlas, now: datetime) -> Facts:
    person = document["person"]
    best_vendor, vendor = best_coverage(document, "VENDOR", atlas, now)
    best_government, government = best_coverage(document, "USG", atlas, now)
    return {
        "subject": "agent" if document.get("agent") is not None else "person",
        "organization": organization(document),
        "ownership": ownership(document, atlas),
        "vendor": vendor,
        "government": government,
        "person": employment(person),
        "presence": presence(document, atlas),
        "screening": screening(person.get("screening"), now),
        "nationality": nationality(person, [best_vendor, best_government], atlas, now),
        "training": "current" if still_open(person.get("training_expires"), now) else "expired",
        "agreements": agreements(person),
        "approval": approval(person),
        "review": "current" if still_open(person.get("review_due"), now) else "overdue",
        "agent": agent_state(document, now),
    }


def integrity(policy: Document, now: datetime) -> str:
    skew = policy.get("clock_skew_s")
    # Reading: a clock nobody measured is not trusted ("unknown is never allowed").
    if skew is None or abs(skew) > 5:
        return "clock_untrusted"
    if policy.get("country_data_reviewed_at") is None:
        return "reference_data_overdue"
    reviewed = instant(policy["country_data_reviewed_at"])
    if reviewed > now:
        return "reference_data_overdue"
    if now - reviewed > timedelta(days=90):
        return "reference_data_overdue"
    return "sound"


def stop(document: Document) -> str:
    if (document.get("model") or {}).get("emergency_stop"):
        return "emergency"
    if document.get("incident_lock") is not None:
        return "incident"
    return "none"


def directive(document: Document, presence_value: str, now: datetime) -> str:
    model = document.get("model") or {}
    organization_id = (document.get("org") or {}).get("id")
    counting = []
    for order in model.get("directives") or []:
        if now < instant(order["from"]):
            continue
        if order.get("until") is not None and now >= instant(order["until"]):
            continue
        if not version_listed(model.get("version"), order["model_versions"]):
            continue
        if order["applies_to"] == "FOREIGN_PERSONS_OR_ABROAD" and presence_value == "us_domestic":
            continue
        counting.append(order)
    if not counting:
        return "none"
    if all(organization_id in (order.get("exempt_orgs") or []) for order in counting):
        return "exempt"
    return "applies"


def version_listed(version: str | None, versions: list[str]) -> bool:
    """`5.1` names 5.1.x."""
    if not version:
        return False
    major_minor = ".".join(version.split(".")[:2])
    return major_minor in versions


def organization(document: Document) -> str:
    status = (document.get("org") or {}).get("status")
    # Reading: an organization without a status is as good as none.
    return status.lower() if status else "prospect"


def ownership(document: Document, atlas: Atlas) -> str:
    org = document.get("org") or {}
    policy = document.get("policy") or {}
    screening_status = (org.get("screening") or {}).get("status")
    blocked = org.get("blocked_owner_aggregate_pct")
    listed = org.get("listed_owner_aggregate_pct")
    parent = atlas.read(org.get("ultimate_parent_country"))

    if screening_status == "TRUE_MATCH":
        return "match"
    if blocked is not None and blocked >= 50:
        return "blocked"
    if policy.get("affiliates_rule_in_force") and listed is not None and listed >= 50:
        return "listed_affiliate"
    if parent.usable and (parent.groups & {"E:1", "E:2", "D:5"} or parent.code == MACAU):
        return "restricted_parent"
    if org.get("ownership_change_pending"):
        return "review_pending"
    if screening_status not in ("CLEAR", "FALSE_POSITIVE"):
        return "review_pending"
    if not parent.usable:
        return "review_pending"
    # Reading: shares nobody has recorded are not shares of nothing ("unknown is never allowed").
    if blocked is None or listed is None:
        return "review_pending"
    return "clear"


def employment(person: Document) -> str:
    # Reading: no status and no employment deny, like every default.
    if person.get("status") != "ACTIVE":
        return "suspended"
    if person.get("employment") not in ("EMPLOYEE", "CONTRACTOR"):
        return "ended"
    return "active"


def presence(document: Document, atlas: Atlas) -> str:
    person = document["person"]
    status = person.get("us_person")
    places = [(document.get("location") or {}).get("country")]
    if document.get("agent") is not None:
        places.append(document["agent"].get("runtime_country"))
    domestic = all(atlas.read(place).code == US for place in places)

    if status == "YES" and person.get("us_basis") is not None:
        return "us_domestic" if domestic else "us_abroad"
    if status == "NO":
        return "foreign_domestic" if domestic else "foreign_abroad"
    return "unverified"


def screening(record: Document | None, now: datetime) -> str:
    if record is None:
        return "incomplete"
    if record["status"] == "TRUE_MATCH":
        return "match"
    if record["status"] == "PENDING":
        return "pending"
    if record["status"] == "INCOMPLETE" or record.get("screened_at") is None:
        return "incomplete"
    screened = instant(record["screened_at"])
    if screened > now:
        return "incomplete"
    if now - screened > timedelta(hours=48):
        return "stale"
    return "clear"


def location(document: Document, atlas: Atlas) -> str:
    given = document.get("location") or {}
    country = atlas.read(given.get("country"))
    places = [country]
    # A runtime has no region of its own, so a runtime in Ukraine is always "UA without a region".
    ukraine_without_region = country.code == "UA" and not given.get("region")
    if document.get("agent") is not None:
        runtime = atlas.read(document["agent"].get("runtime_country"))
        places.append(runtime)
        ukraine_without_region = ukraine_without_region or runtime.code == "UA"
    # Reading: a region is written in any case too, like a country.
    region = (given.get("region") or "").strip().upper()

    if region in EMBARGOED_REGIONS:
        return "embargoed"
    if any(place.usable and place.groups & {"E:1", "E:2"} for place in places):
        return "embargoed"
    if any(not place.usable for place in places):
        return "unverified"
    if given.get("anonymizer"):
        return "unverified"
    if ukraine_without_region:
        return "unverified"
    if given.get("conflict"):
        return "conflict"
    if region and atlas.read(region.split("-")[0]).code != country.code:
        return "conflict"
    if any("D:5" in place.groups or place.code == MACAU for place in places):
        return "restricted"
    return "permitted"


def endpoint(document: Document) -> str:
    record = document.get("endpoint") or {}
    organization_id = (document.get("org") or {}).get("id")
    if not record.get("registered"):
        return "unregistered"
    if record.get("org") is None or record["org"] != organization_id:
        return "other_organization"
    if not record.get("attested"):
        return "unattested"
    return "attested"


def session(document: Document, is_agent: bool) -> str:
    if is_agent:
        return "strong"
    if (document.get("session") or {}).get("mfa") == "PHISHING_RESISTANT":
        return "strong"
    return "weak"


def agreements(person: Document) -> str:
    return "signed" if person.get("aup") and person.get("tcp") else "missing"


def approval(person: Document) -> str:
    """At least two distinct approvers after taking out requester and subject (for an agent, its sponsor)."""
    approvers = set(person.get("approvals") or [])
    approvers.discard(person.get("requested_by"))
    approvers.discard(person.get("id"))
    # Reading: a requester nobody recorded cannot be taken out; the page asks for two others, and there are two.
    return "complete" if len(approvers) >= 2 else "incomplete"


def agent_state(document: Document, now: datetime) -> str:
    agent = document.get("agent")
    if agent is None:
        return "none"
    if agent.get("status") != "ACTIVE":
        return "unregistered"
    if not still_open(agent.get("expires"), now):
        return "credential_expired"
    if (document.get("request") or {}).get("capability") not in (agent.get("scopes") or []):
        return "scope_exceeded"
    # Reading: a depth nobody recorded is too deep (reasons.csv: "or chain broken").
    if agent.get("depth") is None or agent["depth"] > 1:
        return "depth_exceeded"
    return "registered"


def break_glass(document: Document, now: datetime) -> str:
    record = document.get("break_glass")
    if record is None:
        return "none"
    person = document.get("person") or {}

    if not record.get("incident"):
        return "invalid"
    # Reading: as for approvals, the two must remain after taking out the subject and the opener.
    approvers = set(record.get("approvers") or [])
    approvers.discard(person.get("id"))
    approvers.discard(record.get("opened_by"))
    if len(approvers) < 2:
        return "invalid"
    if record.get("opened") is None or record.get("expires") is None:
        return "invalid"
    opened = instant(record["opened"])
    expires = instant(record["expires"])
    if now < opened:
        return "invalid"
    if now >= expires:
        return "invalid"
    if expires - opened > timedelta(hours=8):
        return "invalid"
    # cases.schema.json: "missing organization, people or model: any"
    if "organization" in record and record["organization"] != (document.get("org") or {}).get("id"):
        return "invalid"
    if "people" in record and person.get("id") not in record["people"]:
        return "invalid"
    if "model" in record and record["model"] != (document.get("model") or {}).get("id"):
        return "invalid"
    return "active"


# --------------------------------------------------------------------------------------------------
# Grants
# --------------------------------------------------------------------------------------------------


def best_coverage(document: Document, authority: str, atlas: Atlas, now: datetime) -> tuple[Document | None, str]:
    """The best grant of an authority kind, and what it covers; without any grant, (None, "none")."""
    organization_id = (document.get("org") or {}).get("id")
    candidates = [
        grant
        for grant in document.get("grants") or []
        if grant["authority"] == authority and grant["org"] == organization_id and grant["status"] != "DRAFT"
    ]
    best: Document | None = None
    best_value = "none"
    for grant in candidates:
        value = coverage(grant, document, atlas, now)
        if best is None or better(grant, value, best, best_value):
            best = grant
            best_value = value
    return best, best_value


def better(grant: Document, value: str, other: Document, other_value: str) -> bool:
    """Furthest down the list, then the latest `not_after` (null is latest), then the smallest id."""
    if value != other_value:
        return COVERAGE_ORDER.index(value) > COVERAGE_ORDER.index(other_value)
    end = end_of(grant)
    other_end = end_of(other)
    if end != other_end:
        return end > other_end
    return bool(grant["id"] < other["id"])


def end_of(grant: Document) -> datetime:
    # Reading: a `not_after` that is left out is null, which is open.
    if grant.get("not_after") is None:
        return datetime.max.replace(tzinfo=UTC)
    return instant(grant["not_after"])


def coverage(grant: Document, document: Document, atlas: Atlas, now: datetime) -> str:
    """The first condition that fails, or "covered"."""
    request = document.get("request") or {}
    person = document["person"]
    agent = document.get("agent")
    foreign = person.get("us_person") == "NO"

    if now < instant(grant["not_before"]):
        return "not_yet_valid"
    if now >= end_of(grant):
        return "expired"
    if grant["status"] == "SUSPENDED":
        return "suspended"
    if grant["status"] == "REVOKED":
        return "revoked"
    if not version_listed((document.get("model") or {}).get("version"), grant.get("model_versions") or []):
        return "version"
    if request.get("capability") not in (grant.get("capabilities") or []):
        return "capability"
    if request.get("purpose") not in (grant.get("purposes") or []):
        return "purpose"
    if foreign and excluded(grant, person, atlas, now):
        return "nationality"
    if foreign and not takes_foreign_national(grant, person):
        return "foreign_nationals"
    if person.get("employment") == "CONTRACTOR" and not grant.get("contractors"):
        return "contractor"
    if not country_allowed(grant, (document.get("location") or {}).get("country"), atlas):
        return "location"
    if agent is not None and not grant.get("agents"):
        return "agents"
    if agent is not None and not country_allowed(grant, agent.get("runtime_country"), atlas):
        return "agent_runtime"
    if not seat_free(grant, document.get("seat") or {}):
        return "seat"
    return "covered"


def excluded(grant: Document, person: Document, atlas: Atlas, now: datetime) -> bool:
    """A country attributed under this grant's basis is in its excluded groups."""
    _, countries = attribute(person, basis_of(grant), atlas, now)
    for code in countries:
        for entry in grant.get("excluded_groups") or []:
            if entry in atlas.groups_of(code):
                return True
            if entry == MACAU and code == MACAU:
                return True
    return False


def takes_foreign_national(grant: Document, person: Document) -> bool:
    mode = grant.get("foreign_nationals", "NONE")
    if mode == "ALL_EXCEPT":
        return True
    if mode == "LISTED":
        return person.get("id") in (grant.get("listed_persons") or [])
    return False


def country_allowed(grant: Document, text: str | None, atlas: Atlas) -> bool:
    place = atlas.read(text)
    if not place.usable:
        return False
    for entry in grant.get("allowed_countries") or []:
        if entry == "*":
            return True
        # Reading: the list is normalised at intake like every other country.
        allowed = atlas.read(entry)
        if allowed.usable and allowed.code == place.code:
            return True
    return False


def seat_free(grant: Document, seat: Document) -> bool:
    if seat.get("assigned"):
        return True
    cap = grant.get("seat_cap")
    if cap is None:
        return True
    used = (seat.get("used") or {}).get(grant["id"], 0)
    return bool(used < cap)


# --------------------------------------------------------------------------------------------------
# Nationality
# --------------------------------------------------------------------------------------------------


def basis_of(grant: Document) -> str:
    return grant.get("nationality_basis") or STRICT


def nationality(person: Document, best_grants: list[Document | None], atlas: Atlas, now: datetime) -> str:
    if person.get("us_person") != "NO":
        return "not_assessed"

    bases = {EAR}
    for grant in best_grants:
        if grant is not None:
            bases.add(basis_of(grant))

    holding = set()
    for basis in bases:
        problems, countries = attribute(person, basis, atlas, now)
        holding |= problems
        for code in countries:
            if atlas.groups_of(code) & {"E:1", "E:2"}:
                holding.add("embargoed")
    if not still_open(person.get("evidence_expires"), now):
        holding.add("evidence_expired")

    for value in NATIONALITY_ORDER:
        if value in holding:
            return value
    return "clear"


def attribute(person: Document, basis: str, atlas: Atlas, now: datetime) -> tuple[set[str], set[str]]:
    """The problems that stop attribution, and the attributed countries: one of the two is empty."""
    today = now.astimezone(UTC).date()
    records = []
    for record in person.get("citizenships") or []:
        if is_current(record, today) or (basis == ITAR and is_ended(record, today)):
            records.append(record)
    for record in person.get("residencies") or []:
        if is_current(record, today):
            records.append(record)

    read = [(atlas.read(record["c"]), day(record.get("acquired"))) for record in records]

    problems = set()
    for country, _ in read:
        if country.kind in ("unknown_code", "historical", "indeterminate"):
            problems.add(country.kind)
    if problems:
        return problems, set()

    dated = [(country.code, acquired) for country, acquired in read if country.code is not None]
    if not dated:
        return {"stateless"}, set()

    countries = {code for code, _ in dated}
    if basis in (ITAR, STRICT) or len(countries) == 1:
        return set(), countries

    # EAR_MOST_RECENT, several countries
    dates = [acquired for _, acquired in dated if acquired is not None]
    if len(dates) < len(dated):
        return {"undated"}, set()
    latest = {code for code, acquired in dated if acquired == max(dates)}
    if len(latest) > 1:
        return {"undated"}, set()
    return set(), latest


def is_ended(record: Document, today: date) -> bool:
    ended = day(record.get("ended"))
    return ended is not None and ended <= today


def is_current(record: Document, today: date) -> bool:
    acquired = day(record.get("acquired"))
    if acquired is not None and acquired > today:
        return False
    return not is_ended(record, today)


# --------------------------------------------------------------------------------------------------
# Countries
# --------------------------------------------------------------------------------------------------


class Country:
    """A country text as read: `kind` is usable, indeterminate, stateless, historical or unknown_code."""

    def __init__(self, kind: str, code: str | None, groups: set[str]) -> None:
        self.kind = kind
        self.code = code
        self.groups = groups

    @property
    def usable(self) -> bool:
        return self.kind == "usable"


class Atlas:
    """The rows of jurisdictions.csv, looked up the way a person writes a country."""

    def __init__(self, rows: list[dict[str, str]]) -> None:
        self.countries = {row["code"]: row for row in rows if row["kind"] == "country"}
        self.by_alpha3 = {row["alpha3"]: row["code"] for row in self.countries.values() if row["alpha3"]}
        self.by_name = {row["name"].casefold(): row["code"] for row in self.countries.values()}
        for entry in pycountry.countries:
            for attribute_name in ("name", "common_name", "official_name"):
                name = getattr(entry, attribute_name, None)
                if name:
                    self.by_name.setdefault(name.casefold(), entry.alpha_2)
        self.withdrawn = withdrawn_codes(rows)

    def groups_of(self, code: str) -> set[str]:
        row = self.countries[code]
        if row["treatment"] == "inherits":
            row = self.countries[row["inherits"]]
        return set(row["groups"].split())

    def read(self, text: str | None) -> Country:
        if text is None or not text.strip():
            return Country("unknown_code", None, set())
        code = self.code_of(text.strip())
        if code in STATELESS_CODES:
            return Country("stateless", None, set())
        if code in US_TERRITORIES:
            code = US
        if code in self.countries:
            if self.countries[code]["treatment"] == "indeterminate":
                return Country("indeterminate", code, set())
            return Country("usable", code, self.groups_of(code))
        if code in self.withdrawn:
            return Country("historical", code, set())
        return Country("unknown_code", None, set())

    def code_of(self, text: str) -> str | None:
        """Alpha-2 of a country with a row, else the withdrawn or stateless code itself, else None."""
        upper = text.upper()
        if upper in ALIASES:
            return ALIASES[upper]
        if upper in UNKNOWN_TRAVEL_CODES:
            return None
        if upper in STATELESS_CODES or upper in self.countries:
            return upper
        # A code in use comes before a withdrawn one: ATF is the alpha-3 of TF and of FQHH.
        if upper in self.by_alpha3:
            return self.by_alpha3[upper]
        if upper in self.withdrawn:
            return upper
        # Reading: "common ones too" are the page's own examples, the data's names and ISO's (pycountry); a
        # library that knows more spellings is no error.
        return self.by_name.get(text.casefold())


# The last atlas, and the very list it was made from: thousands of documents share one list. A list that is
# changed in place is not noticed, so pass a new one.
_last: list[Any] = [None, None]


def atlas_of(rows: list[dict[str, str]]) -> Atlas:
    if _last[0] is not rows:
        _last[:] = [rows, Atlas(rows)]
    return _last[1]  # type: ignore[no-any-return]


def withdrawn_codes(rows: list[dict[str, str]]) -> set[str]:
    """ISO 3166-3 in four letters, their alpha-3, and the former alpha-2 (their first two letters)."""
    codes = set()
    for row in rows:
        if row["kind"] == "withdrawn":
            codes |= {row["code"], row["code"][:2], row["alpha3"]}
    for entry in pycountry.historic_countries:
        codes |= {entry.alpha_4, entry.alpha_4[:2], entry.alpha_3}
    in_use = {row["code"] for row in rows if row["kind"] == "country"}
    in_use |= {row["alpha3"] for row in rows if row["kind"] == "country"}
    return codes - in_use - {""}


# --------------------------------------------------------------------------------------------------
# Time
# --------------------------------------------------------------------------------------------------


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def still_open(end: str | None, now: datetime) -> bool:
    """Ends are exclusive, and no date is over."""
    return end is not None and now < instant(end)


# --------------------------------------------------------------------------------------------------
# Files, and the acceptance cases
# --------------------------------------------------------------------------------------------------


def rows(path: str | Path) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def merge(base: Any, overrides: Any) -> Any:
    """Deep-merged; lists, null and plain values replace."""
    if not isinstance(base, dict) or not isinstance(overrides, dict):
        return overrides
    merged = dict(base)
    for key, value in overrides.items():
        merged[key] = merge(base[key], value) if key in base else value
    return merged
