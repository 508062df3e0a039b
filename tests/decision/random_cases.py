"""Random case documents (cases.schema.json) for differential tests of the decision.

`document(rng)` starts from a document that is allowed and changes none to five aspects of it. What is drawn
stays inside what domain.md settles; `document(rng, exotic=True)` also draws inputs that the page leaves to
a reading (see the readings in oracle.py), so differences there are questions before they are bugs.

Run it to see what it reaches: python tests/decision/random_cases.py table.csv jurisdictions.csv [count]
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

Document = dict[str, Any]

MICROSECOND = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

ORG = "org-acme"
OTHER_ORG = "org-globex"
PERSON = "p-100"
MODEL = "mythos-5"
CAPABILITY = "vuln-discovery"
PURPOSE = "defensive-own-systems"
BASES = ["EAR_MOST_RECENT", "ITAR_ALL_EVER", "STRICT_ANY_CURRENT"]
STATUSES = ["DRAFT", "ACTIVE", "SUSPENDED", "REVOKED"]

# What each country may be spelled as; the plain code is always first.
SPELLINGS = {
    "US": ["US", "us", "USA", "usa", "Usa", "United States", "united states"],
    "CA": ["CA", "ca", "CAN", "Canada", "CANADA"],
    "GB": ["GB", "UK", "uk", "Uk", "GBR", "gbr", "United Kingdom"],
    "AU": ["AU", "AUS", "Australia"],
    "NZ": ["NZ", "NZL", "New Zealand"],
    "DE": ["DE", "de", "DEU", "deu", "Germany", "germany"],
    "FR": ["FR", "FRA", "France"],
    "JP": ["JP", "JPN", "Japan"],
    "KR": ["KR", "KOR", "South Korea", "south korea"],
    "AE": ["AE", "ARE", "United Arab Emirates"],
    "GR": ["GR", "EL", "el", "GRC", "Greece"],
    "CZ": ["CZ", "CZE", "Czechia", "Czech Republic"],
    "TR": ["TR", "TUR", "Turkey", "TURKEY", "Türkiye"],
    "MK": ["MK", "MKD", "Macedonia", "North Macedonia"],
    "SZ": ["SZ", "SWZ", "Swaziland", "Eswatini"],
    "CH": ["CH", "CHE", "Switzerland"],
    "IN": ["IN", "IND", "India"],
    "TW": ["TW", "TWN", "Taiwan"],
    "KH": ["KH", "KHM", "Cambodia"],
    "XK": ["XK", "xk", "Kosovo"],
    "KY": ["KY", "CYM", "Cayman Islands"],
    "LI": ["LI", "LIE", "Liechtenstein"],
    "IL": ["IL", "ISR", "Israel"],
    "UA": ["UA", "ua", "UKR", "Ukraine"],
    "CN": ["CN", "cn", "CHN", "China"],
    "HK": ["HK", "hk", "HKG", "Hong Kong"],
    "MO": ["MO", "mo", "MAC", "Macau", "Macao", "MACAU"],
    "RU": ["RU", "RUS", "Russia", "russia", "Russian Federation"],
    "BY": ["BY", "BLR", "Belarus"],
    "VE": ["VE", "VEN", "Venezuela"],
    "MM": ["MM", "MMR", "Burma", "BURMA", "Myanmar"],
    "CD": ["CD", "COD"],
    "IR": ["IR", "ir", "IRN", "Iran"],
    "KP": ["KP", "PRK", "North Korea"],
    "SY": ["SY", "SYR", "Syria"],
    "CU": ["CU", "CUB", "cub", "Cuba"],
    "PR": ["PR", "pr", "PRI", "Puerto Rico"],
    "GU": ["GU", "GUM", "Guam"],
    "AS": ["AS", "ASM", "American Samoa"],
    "VI": ["VI", "VIR"],
    "MP": ["MP", "MNP"],
    "UM": ["UM", "UMI"],
    "PS": ["PS", "PSE"],
    "GL": ["GL", "GRL", "Greenland"],
    "BM": ["BM", "BMU", "Bermuda"],
    "TF": ["TF", "ATF"],
    "AQ": ["AQ", "ATA", "Antarctica"],
}
COVERED = ["CA", "GB", "AU", "DE", "JP", "KR"]
VENDOR_ONLY = ["NZ", "FR", "AE"]
PLAIN = ["GR", "CZ", "TR", "MK", "SZ", "CH", "IN", "TW", "KH", "XK", "IL"]
DEPENDENT = ["KY", "LI"]
TERRITORIES = ["PR", "GU", "AS", "VI", "MP", "UM"]
RESTRICTED = ["CN", "HK", "MO", "RU", "BY", "VE", "MM", "CD"]
EMBARGOED = ["IR", "KP", "SY", "CU"]
INDETERMINATE = ["PS", "GL", "BM", "TF", "AQ"]
WITHDRAWN = [
    *["SU", "YU", "CS", "DD", "AN", "ZR", "BU", "TP", "YD", "su", "Yu", "FX", "HV", "NT"],
    *["SUHH", "YUCS", "CSHH", "CSXX", "DDDE", "ANHH", "ZRCD", "BUMM", "TPTL", "YDYE", "suhh", "AIDJ", "FQHH"],
    *["SUN", "YUG", "CSK", "SCG", "DDR", "ANT", "ZAR", "BUR", "TMP", "YMD", "yug", "BYS"],
]
UNKNOWN = ["ZZ", "QQ", "zz", "ZZZ", "Atlantis", "GBN", "GBO", "EUE", "XOM", "UNK", "RKS", "rks"]
STATELESS = ["XXA", "XXB", "XXC", "XXX", "xxa"]
EMBARGOED_REGIONS = ["UA-43", "UA-40", "UA-14", "UA-09"]
HARMLESS_REGIONS = {
    "US": ["US-CA", "US-PR"],
    "CA": ["CA-ON"],
    "GB": ["GB-ENG"],
    "DE": ["DE-BY"],
    "UA": ["UA-30", "UA-65", "UA-23"],
}


def document(rng: random.Random, *, exotic: bool = False) -> Document:
    """A full case document, allowed but for none to five changed aspects."""
    return _Draft(rng, exotic=exotic).document()


class _Draft:
    """One document in the making: the random source, the instant of the request and the document."""

    def __init__(self, rng: random.Random, *, exotic: bool) -> None:
        self.rng = rng
        self.exotic = exotic
        self.now = self._some_now()
        self.doc: Document = {}

    def document(self) -> Document:
        self.doc = self._base()
        if self.rng.random() < 0.45:
            self._make_foreign()
        if self.rng.random() < 0.25:
            self._move_abroad()
        if self.rng.random() < 0.3:
            self._make_agent()
        if self.rng.random() < 0.15:
            self._open_break_glass()
        for _ in range(self.rng.choices(range(6), [14, 34, 22, 14, 9, 7])[0]):
            aspect = self.rng.choices(ASPECTS, ASPECT_WEIGHTS)[0]
            aspect(self)
        if self.exotic and self.rng.random() < 0.7:
            self.rng.choice(EXOTIC_ASPECTS)(self)
        return self.doc

    # -- time ----------------------------------------------------------------------------------------

    def _some_now(self) -> datetime:
        start = datetime(2026, 11, 23, 12, tzinfo=UTC)
        if self.rng.random() < 0.3:
            return start
        if self.rng.random() < 0.2:  # midnight, and its neighbours
            midnight = datetime(2026, 12, 1, tzinfo=UTC)
            return midnight + self.rng.choice([-MICROSECOND, timedelta(0), MICROSECOND])
        return start + timedelta(microseconds=self.rng.randrange(-30 * 86400 * 10**6, 30 * 86400 * 10**6))

    def stamp(self, instant: datetime) -> str:
        """RFC 3339, in one of the ways to write one instant."""
        style = self.rng.random()
        if style < 0.8:
            return instant.isoformat().replace("+00:00", "Z")
        if style < 0.9:
            return instant.isoformat()
        zone = timezone(timedelta(minutes=self.rng.choice([-720, -300, 330, 540, 840])))
        return instant.astimezone(zone).isoformat()

    def day(self, offset: int) -> str:
        """A date, `offset` days from today in UTC."""
        return (self.now.date() + offset * DAY).isoformat()

    def near(self, instant: datetime) -> datetime:
        """The instant itself or one just beside it."""
        return instant + self.rng.choice([timedelta(0), timedelta(0), -MICROSECOND, MICROSECOND, -SECOND, SECOND])

    def past(self) -> datetime:
        return self.now - self.rng.choice([HOUR, DAY, 30 * DAY])

    def future(self) -> datetime:
        return self.now + self.rng.choice([HOUR, DAY, 30 * DAY, 300 * DAY])

    def end(self) -> datetime:
        """An end that is over, or is about to be."""
        return self.rng.choice([self.past(), self.near(self.now), self.near(self.now)])

    # -- countries -----------------------------------------------------------------------------------

    def spell(self, code: str) -> str:
        spellings = SPELLINGS.get(code, [code])
        return spellings[0] if self.rng.random() < 0.5 else self.rng.choice(spellings)

    def any_country(self) -> str:
        """Any text that may stand where a country is asked for."""
        pool = self.rng.choice(
            [
                *[COVERED, COVERED, VENDOR_ONLY, PLAIN, DEPENDENT, TERRITORIES, RESTRICTED, EMBARGOED],
                *[INDETERMINATE, WITHDRAWN, UNKNOWN, STATELESS],
            ]
        )
        return self.spell(self.rng.choice(pool))

    # -- the base ------------------------------------------------------------------------------------

    def _base(self) -> Document:
        return {
            "now": self.stamp(self.now),
            "policy": {
                "version": "2026.11.20-1",
                "country_data_version": "ear-740s1-2026-07-23",
                "country_data_reviewed_at": self.stamp(self.now - self.rng.choice([DAY, 22 * DAY, 90 * DAY])),
                "clock_skew_s": self.rng.choice([0, 0, 0, 0.2, -3, 5, -5]),
                "affiliates_rule_in_force": self.rng.random() < 0.3,
            },
            "model": {"id": MODEL, "version": "5.1.0", "emergency_stop": False, "directives": []},
            "request": {"action": "invoke", "capability": CAPABILITY, "purpose": PURPOSE},
            "org": {
                "id": ORG,
                "status": "ACTIVE",
                "incorporated_in": "US",
                "ultimate_parent_country": self.spell("US"),
                "blocked_owner_aggregate_pct": 0,
                "listed_owner_aggregate_pct": 0,
                "ownership_change_pending": False,
                "screening": {"status": self.rng.choice(["CLEAR", "CLEAR", "FALSE_POSITIVE"])},
            },
            "grants": [
                self.grant("VG-17", "VENDOR", [*COVERED, *VENDOR_ONLY, "US"]),
                self.grant("USG-A-044", "USG", [*COVERED, "US"]),
            ],
            "person": {
                "id": PERSON,
                "status": "ACTIVE",
                "employment": "EMPLOYEE",
                "us_person": "YES",
                "us_basis": self.rng.choice(["CITIZEN", "NATIONAL", "LPR", "PROTECTED_INDIVIDUAL"]),
                "citizenships": [{"c": self.spell("US"), "acquired": "1988-04-02"}],
                "residencies": [],
                "evidence_expires": None,
                "training_expires": self.stamp(self.now + 100 * DAY),
                "aup": True,
                "tcp": True,
                "approvals": ["p-900", "p-901"],
                "requested_by": "p-500",
                "review_due": self.stamp(self.now + 50 * DAY),
                "screening": {
                    "status": "CLEAR",
                    "screened_at": self.stamp(self.now - 2 * HOUR),
                    "list_version": "csl-2026-11-23",
                },
            },
            "location": {
                "country": self.spell("US"),
                "region": None,
                "source": "ATTESTED+NETWORK",
                "conflict": False,
                "anonymizer": False,
            },
            "seat": {"assigned": True, "used": {"VG-17": 31, "USG-A-044": 28}},
            "endpoint": {"id": "ep-1", "registered": True, "attested": True, "org": ORG},
            "session": {"mfa": "PHISHING_RESISTANT"},
            "agent": None,
            "incident_lock": None,
            "break_glass": None,
        }

    def grant(self, name: str, authority: str, countries: list[str]) -> Document:
        return {
            "id": name,
            "org": ORG,
            "authority": authority,
            "status": "ACTIVE",
            "not_before": self.stamp(self.now - 150 * DAY),
            "not_after": self.stamp(self.now + self.rng.choice([40 * DAY, 200 * DAY])),
            "model_versions": ["5.0", "5.1"],
            "capabilities": [CAPABILITY, "patch-validation"],
            "purposes": [PURPOSE, "owner-authorized-target"],
            "foreign_nationals": "ALL_EXCEPT",
            "listed_persons": [],
            "excluded_groups": ["E:1", "E:2", "D:5", "MO"],
            "nationality_basis": "EAR_MOST_RECENT",
            "allowed_countries": [self.spell(code) for code in countries],
            "contractors": True,
            "agents": True,
            "seat_cap": self.rng.choice([40, 50, None]),
        }

    def _make_foreign(self) -> None:
        person = self.doc["person"]
        if person is None:
            return
        person["us_person"] = "NO"
        person["us_basis"] = None
        person["evidence_expires"] = self.stamp(self.now + 400 * DAY)
        person["citizenships"] = [{"c": self.spell(self.rng.choice([*COVERED, *PLAIN])), "acquired": "1991-01-01"}]

    def _move_abroad(self) -> None:
        self.doc["location"]["country"] = self.spell(self.rng.choice(COVERED))

    def _make_agent(self) -> None:
        self.doc["agent"] = {
            "id": "ag-7",
            "sponsor": PERSON,
            "status": "ACTIVE",
            "scopes": [CAPABILITY],
            "expires": self.stamp(self.now + 12 * HOUR),
            "runtime_country": self.spell(self.rng.choice(["US", "US", "US", "CA", "DE"])),
            "depth": self.rng.choice([0, 1]),
        }
        self.doc["session"]["mfa"] = self.rng.choice([None, "TOTP", "PHISHING_RESISTANT"])

    def _open_break_glass(self) -> None:
        record: Document = {
            "incident": "INC-12",
            "opened_by": "p-950",
            "approvers": ["p-900", "p-902"],
            "opened": self.stamp(self.now - HOUR),
            "expires": self.stamp(self.now + 3 * HOUR),
        }
        for key, value in [("organization", ORG), ("people", ["p-1", PERSON]), ("model", MODEL)]:
            if self.rng.random() < 0.4:
                record[key] = value
        if self.rng.random() < 0.3:
            del record["opened_by"]
        self.doc["break_glass"] = record

    # -- aspects: integrity, subject, stop, directive --------------------------------------------------

    def change_clock(self) -> None:
        skew = self.rng.choice([5, -5, 5.0, 5.000001, -5.000001, 4.999999, 40, -40])
        self.doc["policy"]["clock_skew_s"] = skew

    def change_review_of_data(self) -> None:
        policy = self.doc["policy"]
        kind = self.rng.randrange(4)
        if kind == 0:
            policy.pop("country_data_reviewed_at", None)
        elif kind == 1:
            policy["country_data_reviewed_at"] = self.stamp(self.near(self.now))
        else:
            policy["country_data_reviewed_at"] = self.stamp(self.near(self.now - 90 * DAY))

    def forget_person(self) -> None:
        self.doc["person"] = None
        # What an unknown subject means for the scope of a break-glass or an exemption is left to a reading.
        if not self.exotic:
            record = self.doc["break_glass"] or {}
            record.pop("organization", None)
            record.pop("people", None)
            for order in self.doc["model"]["directives"]:
                order["exempt_orgs"] = []

    def stop(self) -> None:
        kind = self.rng.randrange(3)
        if kind != 0:
            self.doc["incident_lock"] = {"id": "INC-9"}
        if kind != 1:
            self.doc["model"]["emergency_stop"] = True

    def issue_directives(self) -> None:
        self.doc["model"]["directives"] = [self.directive(n) for n in range(self.rng.choice([1, 1, 1, 2, 3]))]

    def directive(self, number: int) -> Document:
        record: Document = {
            "id": f"DIR-{number}",
            "model_versions": self.rng.choice([["5.1"], ["5.0", "5.1"], ["5.0", "5.1"], ["5.0", "5.2"], ["5.10"]]),
            "applies_to": self.rng.choice(["ALL", "FOREIGN_PERSONS_OR_ABROAD", "FOREIGN_PERSONS_OR_ABROAD"]),
            "from": self.stamp(self.rng.choice([self.past(), self.past(), self.near(self.now)])),
        }
        if self.rng.random() < 0.7:
            record["until"] = self.rng.choice([None, self.stamp(self.future()), self.stamp(self.near(self.now))])
        if self.rng.random() < 0.7 and self.doc["person"] is not None:
            record["exempt_orgs"] = self.rng.choice([[], [OTHER_ORG], [ORG], [ORG, OTHER_ORG], [ORG]])
        return record

    # -- aspects: organization and ownership -----------------------------------------------------------

    def change_organization(self) -> None:
        self.doc["org"]["status"] = self.rng.choice(["PROSPECT", "SUSPENDED", "TERMINATED"])

    def change_ownership(self) -> None:
        org = self.doc["org"]
        for _ in range(self.rng.choice([1, 1, 2])):
            kind = self.rng.randrange(6)
            if kind == 0:
                org["screening"] = {"status": self.rng.choice(["PENDING", "TRUE_MATCH", "TRUE_MATCH", "INCOMPLETE"])}
            elif kind == 1:
                org["blocked_owner_aggregate_pct"] = self.rng.choice([49.999, 49, 50, 50.0, 50.001, 100])
            elif kind == 2:
                org["listed_owner_aggregate_pct"] = self.rng.choice([49.999, 49, 50, 50.0, 50.001, 100])
                self.doc["policy"]["affiliates_rule_in_force"] = self.rng.random() < 0.7
                if self.rng.random() < 0.2:
                    self.doc["policy"].pop("affiliates_rule_in_force")
            elif kind == 3:
                org["ultimate_parent_country"] = self.rng.choice([self.any_country(), None])
                if self.rng.random() < 0.1:
                    org.pop("ultimate_parent_country")
            elif kind == 4:
                org["ultimate_parent_country"] = self.spell(self.rng.choice([*RESTRICTED, *EMBARGOED]))
            else:
                org["ownership_change_pending"] = True
        if self.rng.random() < 0.05:
            org.pop("screening", None)

    # -- aspects: grants -------------------------------------------------------------------------------

    def remove_grants(self) -> None:
        kind = self.rng.choice(["VENDOR", "USG", "both", "other", "draft"])
        grants = self.doc["grants"]
        if kind == "both":
            grants.clear()
        elif kind in ("VENDOR", "USG"):
            grants[:] = [grant for grant in grants if grant["authority"] != kind]
        elif grants:
            grant = self.rng.choice(grants)
            if kind == "other":
                grant["org"] = OTHER_ORG
            else:
                grant["status"] = "DRAFT"

    def break_grant(self) -> None:
        if self.doc["grants"]:
            for grant in self.rng.sample(self.doc["grants"], self.rng.randint(1, min(2, len(self.doc["grants"])))):
                self.break_condition(grant)

    def break_condition(self, grant: Document) -> None:
        kind = self.rng.choice(list(GRANT_CONDITIONS))
        GRANT_CONDITIONS[kind](self, grant)

    def break_validity(self, grant: Document) -> None:
        if self.rng.random() < 0.5:
            grant["not_before"] = self.stamp(self.rng.choice([self.near(self.now), self.future()]))
        else:
            grant["not_after"] = self.stamp(self.end())

    def break_status(self, grant: Document) -> None:
        grant["status"] = self.rng.choice(["SUSPENDED", "REVOKED"])

    def break_version(self, grant: Document) -> None:
        grant["model_versions"] = self.rng.choice([["5.0"], ["5.10"], ["5"], [], ["5.2", "5.0"]])

    def break_capability(self, grant: Document) -> None:
        grant["capabilities"] = self.rng.choice([["patch-validation"], []])

    def break_purpose(self, grant: Document) -> None:
        grant["purposes"] = self.rng.choice([["owner-authorized-target"], []])

    def change_excluded_groups(self, grant: Document) -> None:
        grant["excluded_groups"] = self.rng.choice(
            [[], ["E:1", "E:2"], ["D:5"], ["MO"], ["A:1", "E:1"], ["A:5", "A:6"], ["B"], ["D:1", "D:3", "D:4"]]
        )

    def change_basis(self, grant: Document) -> None:
        grant["nationality_basis"] = self.rng.choice(BASES)

    def change_foreign_nationals(self, grant: Document) -> None:
        grant["foreign_nationals"] = self.rng.choice(["NONE", "LISTED", "LISTED"])
        grant["listed_persons"] = self.rng.choice([[], ["p-1"], [PERSON], ["p-1", PERSON]])

    def change_contractors(self, grant: Document) -> None:
        grant["contractors"] = False
        if self.doc["person"] is not None and self.rng.random() < 0.7:
            self.doc["person"]["employment"] = "CONTRACTOR"

    def change_countries(self, grant: Document) -> None:
        kind = self.rng.randrange(5)
        if kind == 0:
            grant["allowed_countries"] = []
        elif kind == 1:
            grant["allowed_countries"] = ["*"]
        elif kind == 2:
            grant["allowed_countries"] = [self.spell(code) for code in self.rng.sample(COVERED, 3)]
        elif kind == 3:
            grant["allowed_countries"] = [self.any_country() for _ in range(self.rng.randint(1, 4))] + ["US"]
        else:
            grant["allowed_countries"] = ["US", "CN", "GB", "CH", "UA"]

    def change_agents(self, grant: Document) -> None:
        grant["agents"] = False

    def change_seats(self, grant: Document) -> None:
        cap = self.rng.choice([0, 1, 10, 40])
        used = self.rng.choice([cap - 1, cap, cap, cap + 1, 0])
        grant["seat_cap"] = cap
        self.doc["seat"]["used"][grant["id"]] = max(0, used)
        self.doc["seat"]["assigned"] = self.rng.random() < 0.15

    def leave_out(self, grant: Document) -> None:
        for key in self.rng.sample(OPTIONAL_IN_GRANT, self.rng.randint(1, 3)):
            grant.pop(key, None)

    def open_end(self, grant: Document) -> None:
        grant["not_after"] = None

    def add_grants(self) -> None:
        """More grants of an authority: worse, equal or better ones, with ties in the end and in the id's place."""
        for _ in range(self.rng.choice([1, 1, 2, 3])):
            authority = self.rng.choice(["VENDOR", "USG"])
            taken = [grant["id"] for grant in self.doc["grants"]]
            name = self.rng.choice(
                [n for n in ["A-1", "VG-16", "VG-18", "USG-A-043", "USG-A-045", "Z-9"] if n not in taken] or ["N"]
            )
            if name in taken:
                return
            grant = self.grant(name, authority, [*COVERED, "US"])
            grant["nationality_basis"] = self.rng.choice(BASES)
            same = [other for other in self.doc["grants"] if other["authority"] == authority]
            if same and self.rng.random() < 0.5:
                grant["not_after"] = same[0].get("not_after")
            elif self.rng.random() < 0.3:
                grant["not_after"] = None
            if self.rng.random() < 0.6:
                self.break_condition(grant)
            if self.rng.random() < 0.15:
                grant["status"] = self.rng.choice(STATUSES)
            if self.rng.random() < 0.1:
                grant["org"] = OTHER_ORG
            self.doc["grants"].insert(self.rng.randint(0, len(self.doc["grants"])), grant)

    def tie_grants(self) -> None:
        """Grants that cover the same, so that only the end and the id say whose basis reads the nationality."""
        person = self.doc["person"]
        if person is None:
            return
        self._make_foreign()
        former: Document = {"c": self.spell(self.rng.choice(["IR", "CU", "ZZ", "SU", "PS"])), "acquired": "1984-01-01"}
        former["ended"] = self.rng.choice([None, self.day(-400)])
        person["citizenships"] = [former, {"c": self.spell("DE"), "acquired": "2019-09-01"}]
        authority = self.rng.choice(["VENDOR", "USG"])
        self.doc["grants"] = [grant for grant in self.doc["grants"] if grant["authority"] != authority]
        ends = [self.stamp(self.now + 40 * DAY), self.stamp(self.now + 40 * DAY), self.stamp(self.now + 41 * DAY), None]
        for name in self.rng.sample(["G-1", "G-10", "G-2", "G-3"], self.rng.choice([1, 2, 2, 3])):
            grant = self.grant(name, authority, [*COVERED, "US"])
            grant["excluded_groups"] = []
            grant["not_after"] = self.rng.choice(ends)
            basis = self.rng.choice([*BASES, None])
            if basis is None:
                grant.pop("nationality_basis")
            else:
                grant["nationality_basis"] = basis
            self.doc["grants"].append(grant)
        self.rng.shuffle(self.doc["grants"])

    def change_model_version(self) -> None:
        self.doc["model"]["version"] = self.rng.choice(["5.1.7", "5.1", "5.0.3", "5.2.0", "5.10.0", "6.1.0", "15.1.0"])

    def change_request(self) -> None:
        if self.rng.random() < 0.5:
            self.doc["request"]["capability"] = self.rng.choice(["exploit-generation", "patch-validation"])
        else:
            self.doc["request"]["purpose"] = self.rng.choice(["third-party-target", "owner-authorized-target"])

    # -- aspects: person -------------------------------------------------------------------------------

    def change_status(self) -> None:
        person = self.doc["person"]
        if person is None:
            return
        kind = self.rng.randrange(3)
        if kind != 0:
            person["employment"] = self.rng.choice(["ENDED", "ENDED", "CONTRACTOR"])
        if kind != 1:
            person["status"] = "SUSPENDED"

    def change_us_person(self) -> None:
        person = self.doc["person"]
        if person is None:
            return
        kind = self.rng.randrange(5)
        if kind == 0:
            person["us_person"] = "UNKNOWN"
        elif kind == 1:
            person["us_person"] = "YES"
            person["us_basis"] = None
        elif kind == 2:
            person.pop("us_person", None)
        elif kind == 3:
            person["us_person"] = "YES"
            person.pop("us_basis", None)
        else:  # a US person whatever else is held
            person["us_person"] = "YES"
            person["us_basis"] = "CITIZEN"
            person["citizenships"] = self.nationality_records(3)

    def change_person_screening(self) -> None:
        person = self.doc["person"]
        if person is None:
            return
        kind = self.rng.randrange(8)
        status = self.rng.choice(["CLEAR", "FALSE_POSITIVE", "CLEAR", "PENDING", "TRUE_MATCH", "INCOMPLETE"])
        if kind == 0:
            person.pop("screening", None)
        elif kind == 1:
            person["screening"] = {"status": status}
        elif kind == 2:
            person["screening"] = {"status": status, "screened_at": self.stamp(self.near(self.now))}
        elif kind in (3, 4, 5):
            boundary = self.near(self.now - 48 * HOUR)
            person["screening"] = {
                "status": self.rng.choice(["CLEAR", "FALSE_POSITIVE"]),
                "screened_at": self.stamp(boundary),
            }
        else:
            person["screening"] = {"status": status, "screened_at": self.stamp(self.past())}

    def change_nationality(self) -> None:
        person = self.doc["person"]
        if person is None:
            return
        self._make_foreign()
        person["citizenships"] = self.nationality_records(self.rng.choice([0, 1, 1, 1, 2, 2, 3]))
        person["residencies"] = self.nationality_records(self.rng.choice([0, 0, 0, 1, 2]))
        if self.rng.random() < 0.05:
            person.pop("citizenships")
        if self.rng.random() < 0.05:
            person.pop("residencies")
        for grant in self.doc["grants"]:
            if self.rng.random() < 0.4:
                grant["nationality_basis"] = self.rng.choice(BASES)

    def nationality_records(self, count: int) -> list[Document]:
        """Records of one flavour more often than of many, so that each flavour is seen alone."""
        rng = self.rng
        pools = [
            *[COVERED, COVERED, PLAIN, DEPENDENT, [*TERRITORIES, "US"], RESTRICTED, RESTRICTED, EMBARGOED],
            *[INDETERMINATE, WITHDRAWN, UNKNOWN, STATELESS],
        ]
        pool = rng.choice(pools)
        records = []
        for _ in range(count):
            if rng.random() < 0.3:
                pool = rng.choice(pools)
            records.append(self.nationality_record(self.spell(rng.choice(pool))))
        if len(records) > 1 and rng.random() < 0.3:
            records[-1]["acquired"] = records[0].get("acquired")  # sharing the latest, or both missing
        if len(records) > 1 and rng.random() < 0.15:
            records[-1]["c"] = records[0]["c"]
        return records

    def nationality_record(self, country: str) -> Document:
        rng = self.rng
        record: Document = {"c": country}
        ended = rng.random() < 0.3
        acquired = rng.random()
        if acquired < 0.65:
            record["acquired"] = rng.choice(["1980-01-01", "1991-01-01", "2005-06-30", "2019-09-01"])
        elif acquired < 0.85 and not ended:
            record["acquired"] = self.day(rng.choice([-1, 0, 0, 1, 30]))
        elif acquired < 0.93:
            record["acquired"] = None
        if ended:
            record["ended"] = self.day(rng.choice([-400, -1, 0, 0, 1, 400]))
        elif rng.random() < 0.2:
            record["ended"] = None
        return record

    def change_evidence(self) -> None:
        person = self.doc["person"]
        if person is None:
            return
        self._make_foreign()
        kind = self.rng.randrange(4)
        if kind == 0:
            person["evidence_expires"] = None
        elif kind == 1:
            person.pop("evidence_expires")
        else:
            person["evidence_expires"] = self.stamp(self.end())

    # -- aspects: place --------------------------------------------------------------------------------

    def change_country(self) -> None:
        place = self.doc["location"]
        kind = self.rng.randrange(8)
        if kind == 0:
            place["country"] = None
        elif kind == 1:
            place.pop("country", None)
        elif kind in (2, 3):
            place["country"] = self.spell(self.rng.choice([*RESTRICTED, *EMBARGOED, "US", *TERRITORIES]))
        else:
            place["country"] = self.any_country()

    def change_region(self) -> None:
        place = self.doc["location"]
        kind = self.rng.randrange(6)
        if kind == 0:
            place["country"] = self.spell("UA")
            place["region"] = None
        elif kind == 1:
            place["country"] = self.rng.choice([self.spell("UA"), self.spell("RU"), self.spell("US"), None])
            place["region"] = self.rng.choice(EMBARGOED_REGIONS)
        elif kind == 2:
            place["country"] = self.spell("UA")
            place["region"] = self.rng.choice(["UA-30", "UA-65", "UA-23"])
            for grant in self.doc["grants"]:
                grant["allowed_countries"] = self.rng.choice([["*"], ["US", "UA"], ["US"]])
        elif kind == 3:
            code = self.rng.choice(list(HARMLESS_REGIONS))
            place["country"] = self.spell(code)
            place["region"] = self.rng.choice(HARMLESS_REGIONS[code])
        elif kind == 4:
            place["region"] = self.rng.choice(["DE-BY", "GB-ENG", "CN-31", "US-CA", "UA-30"])
        else:
            place.pop("region", None)

    def doubt_location(self) -> None:
        place = self.doc["location"]
        if self.rng.random() < 0.6:
            place["conflict"] = True
        if self.rng.random() < 0.6:
            place["anonymizer"] = True
        if self.rng.random() < 0.05:
            self.doc.pop("location")
            self.doc["location"] = {}

    def change_endpoint(self) -> None:
        record = self.doc["endpoint"]
        kind = self.rng.randrange(6)
        if kind == 0:
            record["registered"] = False
        elif kind == 1:
            record["org"] = OTHER_ORG
        elif kind == 2:
            record.pop("org", None)
        elif kind == 3:
            record.pop(self.rng.choice(["registered", "attested"]), None)
        elif kind == 4:
            self.doc["endpoint"] = {}
        else:
            record["attested"] = False

    def unattest_endpoint(self) -> None:
        self.doc["endpoint"]["attested"] = False

    def change_session(self) -> None:
        if self.rng.random() < 0.2:
            self.doc["session"] = {}
        else:
            self.doc["session"]["mfa"] = self.rng.choice([None, "TOTP"])

    # -- aspects: obligations --------------------------------------------------------------------------

    def change_training(self) -> None:
        self._change_end("training_expires")

    def change_review(self) -> None:
        self._change_end("review_due")

    def _change_end(self, key: str) -> None:
        person = self.doc["person"]
        if person is None:
            return
        if self.rng.random() < 0.15:
            person.pop(key, None)
        else:
            person[key] = self.stamp(self.end())

    def change_agreements(self) -> None:
        person = self.doc["person"]
        if person is None:
            return
        key = self.rng.choice(["aup", "tcp"])
        if self.rng.random() < 0.3:
            person.pop(key, None)
        else:
            person[key] = False

    def change_approvals(self) -> None:
        person = self.doc["person"]
        if person is None:
            return
        names = ["p-900", "p-901", "p-902", "p-500", PERSON]
        person["approvals"] = [self.rng.choice(names) for _ in range(self.rng.randint(0, 4))]
        if self.rng.random() < 0.1:
            person.pop("approvals")
        if self.rng.random() < 0.3:
            person["requested_by"] = self.rng.choice(["p-900", PERSON])

    # -- aspects: agent and break-glass ----------------------------------------------------------------

    def change_agent(self) -> None:
        if self.doc["agent"] is None:
            self._make_agent()
        agent = self.doc["agent"]
        kind = self.rng.randrange(7)
        if kind == 0:
            agent["status"] = self.rng.choice(["SUSPENDED", "REVOKED"])
        elif kind == 1:
            agent["expires"] = self.stamp(self.end())
        elif kind == 2:
            agent["scopes"] = self.rng.choice([[], ["patch-validation"], ["patch-validation", CAPABILITY]])
        elif kind == 3:
            agent["depth"] = self.rng.choice([0, 1, 2, 3])
        elif kind == 4:
            agent["runtime_country"] = self.rng.choice([self.any_country(), self.any_country(), self.spell("UA")])
        elif kind == 5:
            agent["runtime_country"] = self.spell(self.rng.choice([*VENDOR_ONLY, *PLAIN, *TERRITORIES]))
        else:
            agent.pop(self.rng.choice(["status", "expires", "scopes", "runtime_country", "sponsor"]), None)

    def forbid_agents(self) -> None:
        self._make_agent()
        for grant in self.doc["grants"]:
            if self.rng.random() < 0.6:
                grant["agents"] = False

    def change_break_glass(self) -> None:
        self._open_break_glass()
        record = self.doc["break_glass"]
        kind = self.rng.randrange(11)
        if kind == 0:
            record["incident"] = None
        elif kind == 1:
            record.pop("incident")
        elif kind == 2:
            names = ["p-900", "p-902", "p-903", PERSON, "p-950"]
            record["approvers"] = [self.rng.choice(names) for _ in range(self.rng.randint(0, 4))]
        elif kind == 3:
            record["expires"] = self.stamp(self.near(self.now))
        elif kind == 4:
            record["opened"] = self.stamp(self.near(self.now))
        elif kind in (5, 6):
            opened = self.now - self.rng.choice([HOUR, 7 * HOUR, timedelta(0)])
            record["opened"] = self.stamp(opened)
            record["expires"] = self.stamp(self.near(opened + 8 * HOUR))
        elif kind == 7:
            record["organization"] = self.rng.choice([ORG, OTHER_ORG])
        elif kind == 8:
            record["people"] = self.rng.choice([["p-1"], [PERSON], ["p-1", "p-2"]])
        elif kind == 9:
            record["model"] = self.rng.choice([MODEL, "mythos-4"])
        else:
            record.pop(self.rng.choice(["approvers", "opened", "expires"]), None)
        if self.doc["person"] is None:
            self.forget_person()

    def pass_over(self) -> None:
        """A valid break-glass, and something that it may pass over."""
        self._open_break_glass()
        bypassable = [self.change_training, self.change_review, self.unattest_endpoint, self.fill_seats]
        for change in self.rng.sample(bypassable, self.rng.choice([1, 1, 2, 3])):
            change()
        if self.doc["person"] is None:
            self.forget_person()

    def fill_seats(self) -> None:
        for grant in self.doc["grants"]:
            if self.rng.random() < 0.6:
                grant["seat_cap"] = 40
                self.doc["seat"]["used"][grant["id"]] = 40
        self.doc["seat"]["assigned"] = False

    # -- exotic aspects: domain.md leaves these to a reading -------------------------------------------

    def lose_skew(self) -> None:
        self.doc["policy"].pop("clock_skew_s", None)

    def lose_organization_fields(self) -> None:
        self.doc["org"].pop(
            self.rng.choice(["status", "blocked_owner_aggregate_pct", "listed_owner_aggregate_pct"]), None
        )

    def lose_person_fields(self) -> None:
        if self.doc["person"] is not None:
            self.doc["person"].pop(self.rng.choice(["status", "employment", "requested_by", "id"]), None)

    def lose_section(self) -> None:
        section = self.rng.choice(["location", "endpoint", "session", "seat", "policy", "agent", "break_glass"])
        if self.rng.random() < 0.5 or section in ("agent", "break_glass"):
            self.doc[section] = {}
        else:
            self.doc.pop(section)

    def lose_agent_depth(self) -> None:
        self._make_agent()
        self.doc["agent"].pop("depth")

    def change_sponsor(self) -> None:
        self._make_agent()
        self.doc["agent"]["sponsor"] = "p-777"

    def empty_break_glass_scope(self) -> None:
        self._open_break_glass()
        self.doc["break_glass"]["people"] = self.rng.choice([[], ["ag-7"]])

    def odd_versions(self) -> None:
        odd = self.rng.choice([[], ["5.1.0"], ["5"]])
        if self.rng.random() < 0.5 and self.doc["grants"]:
            self.rng.choice(self.doc["grants"])["model_versions"] = odd
        else:
            self.issue_directives()
            self.doc["model"]["directives"][0]["model_versions"] = odd
        if self.rng.random() < 0.3:
            self.doc["model"]["version"] = self.rng.choice(["5", "5.1-rc1", "5.1.0-beta"])

    def odd_country(self) -> None:
        text = self.rng.choice(
            [
                *["", " ", " DE ", "276", "USSR", "Soviet Union", "Zaire", "East Timor", "Yugoslavia", "XKX"],
                *["UAE", "Great Britain", "Deutschland", "Ivory Coast", "Palestine", "UA-43", "Crimea"],
            ]
        )
        kind = self.rng.randrange(3)
        if kind == 0 and self.doc["person"] is not None:
            self._make_foreign()
            self.doc["person"]["citizenships"] = [{"c": text, "acquired": "1991-01-01"}]
        elif kind == 1:
            self.doc["location"]["country"] = text
        else:
            self.doc["org"]["ultimate_parent_country"] = text

    def odd_region(self) -> None:
        pairs = [("HK", "CN-HK"), ("PR", "PR"), ("US", ""), ("UA", "ua-43"), ("UA", ""), ("GB", "UK-ENG")]
        self.doc["location"]["country"], self.doc["location"]["region"] = self.rng.choice(pairs)

    def odd_lists_in_grant(self) -> None:
        if self.doc["grants"] and self.doc["person"] is not None:
            grant = self.rng.choice(self.doc["grants"])
            if self.rng.random() < 0.5:
                grant["excluded_groups"] = self.rng.choice([["CN"], ["mo"], ["DE"], ["e:1"]])
                self._make_foreign()
                self.doc["person"]["citizenships"] = [{"c": self.rng.choice(["CN", "MO", "DE"])}]
            else:
                grant["allowed_countries"] = self.rng.choice([["PR"], ["PS", "DE"], ["ZZ", "US"]])

    def contradictory_record(self) -> None:
        if self.doc["person"] is not None:
            self._make_foreign()
            self.doc["person"]["citizenships"].append(
                {"c": self.rng.choice(["IR", "FR"]), "acquired": self.day(10), "ended": self.day(-10)}
            )
            for grant in self.doc["grants"]:
                grant["nationality_basis"] = "ITAR_ALL_EVER"

    def scope_of_an_unknown_subject(self) -> None:
        self.issue_directives()
        for order in self.doc["model"]["directives"]:
            order["exempt_orgs"] = [ORG]
        self.doc["person"] = None
        if self.rng.random() < 0.5:
            self._open_break_glass()
            self.doc["break_glass"]["organization"] = ORG


OPTIONAL_IN_GRANT = [
    *["not_after", "model_versions", "capabilities", "purposes", "foreign_nationals", "listed_persons"],
    *["excluded_groups", "nationality_basis", "allowed_countries", "contractors", "agents", "seat_cap"],
]

GRANT_CONDITIONS: dict[str, Callable[[_Draft, Document], None]] = {
    "validity": _Draft.break_validity,
    "status": _Draft.break_status,
    "version": _Draft.break_version,
    "capability": _Draft.break_capability,
    "purpose": _Draft.break_purpose,
    "excluded_groups": _Draft.change_excluded_groups,
    "basis": _Draft.change_basis,
    "foreign_nationals": _Draft.change_foreign_nationals,
    "contractors": _Draft.change_contractors,
    "countries": _Draft.change_countries,
    "agents": _Draft.change_agents,
    "seats": _Draft.change_seats,
    "leave_out": _Draft.leave_out,
    "open_end": _Draft.open_end,
}

# Later tiers are seldom reported when an earlier one has a hit too: what stops early is drawn less often.
WEIGHTED_ASPECTS: list[tuple[Callable[[_Draft], None], int]] = [
    (_Draft.change_clock, 2),
    (_Draft.change_review_of_data, 2),
    (_Draft.forget_person, 1),
    (_Draft.stop, 1),
    (_Draft.issue_directives, 4),
    (_Draft.change_organization, 2),
    (_Draft.change_ownership, 6),
    (_Draft.remove_grants, 3),
    (_Draft.break_grant, 12),
    (_Draft.add_grants, 10),
    (_Draft.tie_grants, 5),
    (_Draft.change_model_version, 2),
    (_Draft.change_request, 2),
    (_Draft.change_status, 4),
    (_Draft.change_us_person, 3),
    (_Draft.change_person_screening, 5),
    (_Draft.change_nationality, 14),
    (_Draft.change_evidence, 3),
    (_Draft.change_country, 5),
    (_Draft.change_region, 4),
    (_Draft.doubt_location, 3),
    (_Draft.change_endpoint, 4),
    (_Draft.unattest_endpoint, 2),
    (_Draft.change_session, 3),
    (_Draft.change_training, 5),
    (_Draft.change_review, 5),
    (_Draft.change_agreements, 4),
    (_Draft.change_approvals, 6),
    (_Draft.change_agent, 9),
    (_Draft.forbid_agents, 3),
    (_Draft.change_break_glass, 8),
    (_Draft.pass_over, 6),
    (_Draft.fill_seats, 4),
]
ASPECTS = [aspect for aspect, _ in WEIGHTED_ASPECTS]
ASPECT_WEIGHTS = [weight for _, weight in WEIGHTED_ASPECTS]

EXOTIC_ASPECTS: list[Callable[[_Draft], None]] = [
    _Draft.lose_skew,
    _Draft.lose_organization_fields,
    _Draft.lose_person_fields,
    _Draft.lose_section,
    _Draft.lose_agent_depth,
    _Draft.change_sponsor,
    _Draft.empty_break_glass_scope,
    _Draft.odd_versions,
    _Draft.odd_country,
    _Draft.odd_region,
    _Draft.odd_lists_in_grant,
    _Draft.contradictory_record,
    _Draft.scope_of_an_unknown_subject,
]
