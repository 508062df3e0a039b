"""The closed vocabularies: every value is the wire code. Add, never rename."""

from datetime import timedelta
from enum import StrEnum


class Outcome(StrEnum):
    """What a decision says. HOLD is a deny that a review can lift."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    HOLD = "HOLD"


class Tier(StrEnum):
    """Groups of rows, in the order in which they are reported: the first with a hit speaks."""

    INTEGRITY = "integrity"
    SWITCHES = "switches"
    ORGANIZATION = "organization"
    AUTHORIZATION = "authorization"
    PERSON = "person"
    RELATIONSHIP = "relationship"
    PLACE = "place"
    OBLIGATIONS = "obligations"
    AGENT = "agent"
    BREAK_GLASS = "break_glass"
    ALLOW = "allow"


class OrganizationStatus(StrEnum):
    PROSPECT = "prospect"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"


class GrantStatus(StrEnum):
    DRAFT = "draft"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class AuthorityKind(StrEnum):
    VENDOR = "vendor"
    GOVERNMENT = "government"


class ForeignNationals(StrEnum):
    """Which foreign persons a grant covers."""

    NONE = "none"
    LISTED = "listed"
    ALL_EXCEPT = "all_except"


class NationalityBasis(StrEnum):
    """How countries are attributed to a foreign person."""

    EAR_MOST_RECENT = "ear_most_recent"  # 15 CFR 734.13(b)
    ITAR_ALL_EVER = "itar_all_ever"  # 22 CFR 120.50(b)
    STRICT_ANY_CURRENT = "strict_any_current"


class PersonStatus(StrEnum):
    """ERASED is for good: of the person only the gate's id is left."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    ERASED = "erased"


class Employment(StrEnum):
    EMPLOYEE = "employee"
    CONTRACTOR = "contractor"
    ENDED = "ended"


class UsPerson(StrEnum):
    """The reviewed status (15 CFR 772.1), never derived from nationality records."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class UsBasis(StrEnum):
    """Why someone is a US person (22 CFR 120.62; 8 U.S.C. 1324b(a)(3))."""

    CITIZEN = "citizen"
    NATIONAL = "national"
    LPR = "lpr"
    PROTECTED_INDIVIDUAL = "protected_individual"


class NationalityKind(StrEnum):
    CITIZENSHIP = "citizenship"
    PERMANENT_RESIDENCY = "permanent_residency"


class ScreeningStatus(StrEnum):
    """PENDING is a potential match that waits for adjudication."""

    CLEAR = "clear"
    FALSE_POSITIVE = "false_positive"
    PENDING = "pending"
    TRUE_MATCH = "true_match"
    INCOMPLETE = "incomplete"


class AgentStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class EndpointStatus(StrEnum):
    ACTIVE = "active"
    RETIRED = "retired"


class DirectiveClass(StrEnum):
    """Whom a directive suspends a model for."""

    ALL = "all"
    FOREIGN_PERSONS_OR_ABROAD = "foreign_persons_or_abroad"


class StopScope(StrEnum):
    """EVERYTHING, AUTHORITY and MODEL are kill switches; the others are incident locks."""

    EVERYTHING = "everything"
    AUTHORITY = "authority"
    MODEL = "model"
    ORGANIZATION = "organization"
    PERSON = "person"
    ENDPOINT = "endpoint"


class HoldScope(StrEnum):
    """Whose records a legal hold keeps."""

    ORGANIZATION = "organization"
    PERSON = "person"


class Switch(StrEnum):
    """Rules that are switched on and off by date."""

    AFFILIATES_RULE = "affiliates_rule"


class Treatment(StrEnum):
    """How a code of the jurisdictions' data set is to be read."""

    LISTED = "listed"
    INHERITS = "inherits"
    INDETERMINATE = "indeterminate"
    STATELESS = "stateless"
    WITHDRAWN = "withdrawn"
    EMBARGOED = "embargoed"


class RequestedAction(StrEnum):
    """What may wait for a second officer."""

    CREATE = "create"
    CHANGE = "change"
    ACTIVATE = "activate"
    LIFT = "lift"
    REPLACE = "replace"
    ADJUDICATE = "adjudicate"
    ERASE = "erase"
    PRUNE = "prune"
    IMPORT = "import"


class RequestState(StrEnum):
    """Of a change request. EXPIRED is what nobody decided in time."""

    REQUESTED = "requested"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class InvitationState(StrEnum):
    """EXPIRED is what nobody accepted in time."""

    OPEN = "open"
    ACCEPTED = "accepted"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class ReportKind(StrEnum):
    """What can be found out about a policy: whether it is sound, whom it concerns, what it would have answered."""

    CHECKS = "checks"
    IMPACT = "impact"
    TRAFFIC = "traffic"


class PolicyState(StrEnum):
    """Where a revision stands. An approved one is at once active, or scheduled, or staged."""

    DRAFT = "draft"
    TESTED = "tested"
    SIMULATED = "simulated"
    SHADOW = "shadow"
    SCHEDULED = "scheduled"
    STAGED = "staged"
    ACTIVE = "active"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled_back"


class RolloutOutcome(StrEnum):
    """COMPLETED: it is in force. HALTED by its limit, ENDED by an officer, SUPERSEDED by another activation."""

    COMPLETED = "completed"
    HALTED = "halted"
    ENDED = "ended"
    SUPERSEDED = "superseded"


class Mfa(StrEnum):
    PHISHING_RESISTANT = "phishing_resistant"
    TOTP = "totp"


class Role(StrEnum):
    """OFFICER is of one authority, ORG_ADMIN and SCIM of one organization; COMPLIANCE acts for the whole programme."""

    GATEWAY = "gateway"
    ORG_ADMIN = "org_admin"
    OFFICER = "officer"
    COMPLIANCE = "compliance"
    AUDITOR = "auditor"
    OPERATOR = "operator"
    SCIM = "scim"


OF_AN_ORGANIZATION = frozenset({Role.ORG_ADMIN, Role.SCIM})


class Permission(StrEnum):
    """What policies/admin.csv can give to a role."""

    EVALUATE = "evaluate"
    EXPLAIN = "explain"
    READ_DECISIONS = "read_decisions"
    READ_LOG = "read_log"
    READ_REGISTRY = "read_registry"
    READ_STAFF = "read_staff"
    READ_PROGRAMME = "read_programme"
    READ_ATTENTION = "read_attention"
    ENROL = "enrol"
    REVIEW = "review"
    ASSESS = "assess"
    SCREEN = "screen"
    ADMINISTER = "administer"
    RUN_PROGRAMME = "run_programme"
    SUSPEND = "suspend"
    SUSPEND_STAFF = "suspend_staff"
    IMPORT = "import"
    ACTIVATE_POLICY = "activate_policy"
    APPROVE_POLICY = "approve_policy"
    OPERATE = "operate"
    PROVISION = "provision"


# How long records of a person are kept: ten years, whichever (31 CFR 501.601; 15 CFR 762.6 asks five).
RETENTION = timedelta(days=3653)
# Limits that a decision and the registry share; both are inclusive.
DATA_REVIEW = timedelta(days=90)
LONGEST_BREAK_GLASS = timedelta(hours=8)

# Every fact with its closed set of values, in order of precedence.
COVERAGE = (
    "none", "not_yet_valid", "expired", "suspended", "revoked", "version", "capability", "purpose", "nationality",
    "foreign_nationals", "contractor", "location", "agents", "agent_runtime", "seat", "covered",
)  # fmt: skip

FACTS: dict[str, tuple[str, ...]] = {
    "integrity": ("clock_untrusted", "reference_data_overdue", "sound"),
    "subject": ("unknown", "agent", "person"),
    "stop": ("emergency", "incident", "none"),
    "directive": ("applies", "exempt", "none"),
    "organization": ("prospect", "active", "suspended", "terminated"),
    "ownership": ("match", "blocked", "listed_affiliate", "restricted_parent", "review_pending", "clear"),
    "vendor": COVERAGE,
    "government": COVERAGE,
    "person": ("suspended", "ended", "active"),
    "presence": ("unverified", "us_domestic", "us_abroad", "foreign_domestic", "foreign_abroad"),
    "screening": ("match", "pending", "incomplete", "stale", "clear"),
    "nationality": (
        "not_assessed", "embargoed", "unknown_code", "historical", "undated", "stateless", "evidence_expired",
        "indeterminate", "clear",
    ),
    "location": ("embargoed", "unverified", "conflict", "restricted", "permitted"),
    "endpoint": ("unregistered", "other_organization", "unattested", "attested"),
    "session": ("weak", "strong"),
    "training": ("expired", "current"),
    "agreements": ("missing", "signed"),
    "approval": ("incomplete", "complete"),
    "review": ("overdue", "current"),
    "agent": ("none", "unregistered", "credential_expired", "scope_exceeded", "depth_exceeded", "registered"),
    "break_glass": ("none", "invalid", "active"),
}  # fmt: skip
