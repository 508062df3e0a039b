"""Every table, parents before children."""

from enum import StrEnum

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSTZRANGE
from sqlalchemy.schema import SchemaItem

from mythos_gate import terms

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

TIME = DateTime(timezone=True)
# The organization that a transaction is confined to (`db.confined`), if it is.
TENANT = text("nullif(current_setting('mythos_gate.organization', true), '')")
TEXTS = ARRAY(Text)
# A slash would make ORGANIZATION/EXTERNAL_ID ambiguous.
SLUG = "[a-z0-9][a-z0-9._-]{0,62}"
NAME = "[A-Za-z0-9._@+-]{1,128}"
MAJOR_MINOR = "(0|[1-9][0-9]{0,5})[.](0|[1-9][0-9]{0,5})"
GROUP = "([A-E](:[1-9])?|MO)"
COUNTRY = "([A-Z]{2}|[*])"


def _one_of(column: str, vocabulary: type[StrEnum]) -> CheckConstraint:
    values = ", ".join(f"'{value}'" for value in vocabulary)
    return CheckConstraint(f"{column} IN ({values})", name=column)


def _within(column: str, values: list[str]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} <@ ARRAY[{listed}]::text[]", name=column)


def _matches(column: str, pattern: str) -> CheckConstraint:
    return CheckConstraint(f"{column} ~ '^{pattern}$'", name=column)


def _each_matches(column: str, pattern: str) -> CheckConstraint:
    """Every entry of a list; none may hold the separator."""
    listed = f"array_to_string({column}, '|', '')"
    return CheckConstraint(f"cardinality({column}) = 0 OR {listed} ~ '^{pattern}([|]{pattern})*$'", name=column)


def _created() -> Column[object]:
    return Column("created_at", TIME, nullable=False, server_default=func.clock_timestamp())


# --- who issues what, and for which model ---------------------------------------------------------------------

authorities = Table(
    "authorities",
    metadata,
    Column("id", Text, primary_key=True),
    Column("slug", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("organization_cap", Integer),
    _created(),
    _matches("slug", SLUG),
    _one_of("kind", terms.AuthorityKind),
    CheckConstraint("organization_cap >= 0", name="organization_cap"),
)

models = Table(
    "models",
    metadata,
    Column("id", Text, primary_key=True),
    Column("authority_id", ForeignKey("authorities.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("versions", TEXTS, nullable=False),
    Column("capabilities", TEXTS, nullable=False),
    _created(),
    _matches("id", SLUG),
    _each_matches("versions", MAJOR_MINOR),
)

# --- organizations and their instruments ----------------------------------------------------------------------

organizations = Table(
    "organizations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("slug", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("sector", Text),
    Column("incorporated_in", Text),
    Column("parent_name", Text),
    Column("parent_country", Text),
    Column("parent_country_text", Text),
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("ownership_change_pending", Boolean, nullable=False, server_default=text("false")),
    _created(),
    _matches("slug", SLUG),
    _one_of("status", terms.OrganizationStatus),
)

ownerships = Table(
    "ownerships",
    metadata,
    Column("organization_id", ForeignKey("organizations.id"), primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("percent", Numeric, nullable=False),
    Column("blocked", Boolean, nullable=False),
    Column("listed", Boolean, nullable=False),
    CheckConstraint("percent > 0 AND percent <= 100", name="percent"),
)

organization_screenings = Table(
    "organization_screenings",
    metadata,
    Column("organization_id", ForeignKey("organizations.id"), primary_key=True),
    Column("status", Text, nullable=False),
    Column("screened_at", TIME),
    Column("list_version", Text),
    _one_of("status", terms.ScreeningStatus),
)

grants = Table(
    "grants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("authority_id", ForeignKey("authorities.id"), nullable=False),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False, index=True),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("reference", Text, nullable=False),
    Column("document_sha256", Text),
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("not_before", TIME, nullable=False),
    Column("not_after", TIME),
    Column("versions", TEXTS, nullable=False),
    Column("capabilities", TEXTS, nullable=False),
    Column("purposes", TEXTS, nullable=False),
    Column("foreign_nationals", Text, nullable=False),
    Column("excluded_groups", TEXTS, nullable=False),
    Column("nationality_basis", Text, nullable=False),
    Column("allowed_countries", TEXTS, nullable=False),
    Column("contractors", Boolean, nullable=False),
    Column("agents", Boolean, nullable=False),
    Column("seat_cap", Integer),
    _created(),
    UniqueConstraint("authority_id", "reference"),
    UniqueConstraint("organization_id", "id"),
    _each_matches("versions", MAJOR_MINOR),
    _each_matches("excluded_groups", GROUP),
    _each_matches("allowed_countries", COUNTRY),
    _one_of("status", terms.GrantStatus),
    _one_of("foreign_nationals", terms.ForeignNationals),
    _one_of("nationality_basis", terms.NationalityBasis),
    CheckConstraint("not_after > not_before", name="window"),
    CheckConstraint("seat_cap >= 0", name="seat_cap"),
    CheckConstraint("document_sha256 ~ '^[0-9a-f]{64}$'", name="document_sha256"),
)

directives = Table(
    "directives",
    metadata,
    Column("id", Text, primary_key=True),
    Column("authority_id", ForeignKey("authorities.id"), nullable=False),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("reference", Text, nullable=False),
    Column("versions", TEXTS, nullable=False),
    Column("applies_to", Text, nullable=False),
    Column("starts_at", TIME, nullable=False),
    Column("ends_at", TIME),
    _created(),
    UniqueConstraint("authority_id", "reference"),
    _each_matches("versions", MAJOR_MINOR),
    _one_of("applies_to", terms.DirectiveClass),
    CheckConstraint("ends_at > starts_at", name="window"),
)

directive_exemptions = Table(
    "directive_exemptions",
    metadata,
    Column("directive_id", ForeignKey("directives.id"), primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), primary_key=True),
)

# --- people, agents, endpoints --------------------------------------------------------------------------------

people = Table(
    "people",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False),
    Column("external_id", Text, nullable=False),
    Column("name", Text),
    Column("email", Text),
    Column("work_country", Text),
    Column("work_country_text", Text),
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("employment", Text, nullable=False),
    Column("training_expires", TIME),
    Column("acceptable_use", Boolean, nullable=False, server_default=text("false")),
    Column("technology_control_plan", Boolean, nullable=False, server_default=text("false")),
    Column("requested_by", Text),
    Column("review_due", TIME),
    Column("obligations_evidence", Text),  # where training and signatures are on file: a reference, not the document
    _created(),
    UniqueConstraint("organization_id", "external_id"),
    _matches("external_id", NAME),
    UniqueConstraint("organization_id", "id"),
    _one_of("status", terms.PersonStatus),
    _one_of("employment", terms.Employment),
)

approvals = Table(
    "approvals",
    metadata,
    Column("person_id", ForeignKey("people.id"), primary_key=True),
    Column("approver", Text, primary_key=True),
)

person_screenings = Table(
    "person_screenings",
    metadata,
    Column("person_id", ForeignKey("people.id"), primary_key=True),
    Column("status", Text, nullable=False),
    Column("screened_at", TIME),
    Column("list_version", Text),
    _one_of("status", terms.ScreeningStatus),
)

# Read by compliance alone; the PDP reads both through the definer function export_assessment().
export_assessments = Table(
    "export_assessments",
    metadata,
    Column("person_id", ForeignKey("people.id"), primary_key=True),
    Column("us_person", Text, nullable=False),
    Column("us_basis", Text),
    Column("evidence_expires", TIME),
    _one_of("us_person", terms.UsPerson),
    _one_of("us_basis", terms.UsBasis),
)

nationality_records = Table(
    "nationality_records",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person_id", ForeignKey("people.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("country", Text, nullable=False),
    Column("country_text", Text, nullable=False),
    Column("acquired", Date),
    Column("ended", Date),
    UniqueConstraint(
        "person_id", "kind", "country", "country_text", "acquired", "ended", postgresql_nulls_not_distinct=True
    ),
    _one_of("kind", terms.NationalityKind),
    CheckConstraint("ended >= acquired", name="window"),
)

# One row a change: opens the commitment that its log entry holds, and is erased with the records.
nationality_commitments = Table(
    "nationality_commitments",
    metadata,
    Column("person_id", ForeignKey("people.id"), primary_key=True),
    Column("commitment", LargeBinary, primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    CheckConstraint("octet_length(salt) = 16", name="salt"),
)

agents = Table(
    "agents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False),
    Column("external_id", Text, nullable=False),
    Column("name", Text),
    Column("sponsor_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("scopes", TEXTS, nullable=False),
    Column("expires_at", TIME),
    Column("runtime_country", Text),
    Column("runtime_country_text", Text),
    Column("depth", Integer),
    _created(),
    UniqueConstraint("organization_id", "external_id"),
    _matches("external_id", NAME),
    # One human sponsor, of the same organization.
    ForeignKeyConstraint(["organization_id", "sponsor_id"], ["people.organization_id", "people.id"]),
    _one_of("status", terms.AgentStatus),
    CheckConstraint("depth >= 0", name="depth"),
)

endpoints = Table(
    "endpoints",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False),
    Column("external_id", Text, nullable=False),
    Column("name", Text),
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("attested", Boolean, nullable=False, server_default=text("false")),
    _created(),
    UniqueConstraint("organization_id", "external_id"),
    _matches("external_id", NAME),
    _one_of("status", terms.EndpointStatus),
)


def _grant_and_person() -> tuple[SchemaItem, ...]:
    """Of one organization, both."""
    return (
        Column("grant_id", Text, primary_key=True),
        Column("person_id", Text, primary_key=True, index=True),
        Column("organization_id", Text, nullable=False),
        ForeignKeyConstraint(["organization_id", "grant_id"], ["grants.organization_id", "grants.id"]),
        ForeignKeyConstraint(["organization_id", "person_id"], ["people.organization_id", "people.id"]),
    )


grant_listed_people = Table("grant_listed_people", metadata, *_grant_and_person())

seats = Table(
    "seats",
    metadata,
    *_grant_and_person(),
    Column("claimed_at", TIME, nullable=False, server_default=func.clock_timestamp()),
)

# The count that a claim checks and raises in one update; never a cached fact.
seat_counts = Table(
    "seat_counts",
    metadata,
    Column("grant_id", ForeignKey("grants.id"), primary_key=True),
    Column("used", Integer, nullable=False),
    CheckConstraint("used >= 0", name="used"),
)

# --- switches -------------------------------------------------------------------------------------------------

stops = Table(
    "stops",
    metadata,
    Column("id", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("authority_id", ForeignKey("authorities.id")),
    Column("model_id", ForeignKey("models.id")),
    Column("organization_id", ForeignKey("organizations.id"), index=True),
    Column("person_id", ForeignKey("people.id"), index=True),
    Column("endpoint_id", ForeignKey("endpoints.id"), index=True),
    Column("incident", Text),
    Column("lifted_at", TIME),
    _created(),
    _one_of("scope", terms.StopScope),
    CheckConstraint(
        "num_nonnulls(authority_id, model_id, organization_id, person_id, endpoint_id) ="
        " CASE scope WHEN 'everything' THEN 0 ELSE 1 END"
        " AND CASE scope WHEN 'everything' THEN true WHEN 'authority' THEN authority_id IS NOT NULL"
        " WHEN 'model' THEN model_id IS NOT NULL WHEN 'organization' THEN organization_id IS NOT NULL"
        " WHEN 'person' THEN person_id IS NOT NULL WHEN 'endpoint' THEN endpoint_id IS NOT NULL END",
        name="target",
    ),
    CheckConstraint("incident IS NOT NULL OR scope IN ('everything', 'authority', 'model')", name="incident"),
    # Two incidents may lock one target; lifting the lock of one leaves the other's.
    Index(
        "uq_stops_standing",
        "scope",
        "authority_id",
        "model_id",
        "organization_id",
        "person_id",
        "endpoint_id",
        "incident",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("lifted_at IS NULL"),
    ),
)

break_glasses = Table(
    "break_glasses",
    metadata,
    Column("id", Text, primary_key=True),
    Column("incident", Text, nullable=False),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False, index=True),
    Column("people", TEXTS),
    Column("model_id", ForeignKey("models.id")),
    Column("opened_by", Text, nullable=False),
    Column("approvers", TEXTS, nullable=False),
    Column("opened_at", TIME, nullable=False),
    Column("expires_at", TIME, nullable=False),
    Column("reviewed_by", Text),
    Column("reviewed_at", TIME),
    Column("review", Text),
    CheckConstraint("(reviewed_by IS NULL) = (reviewed_at IS NULL)", name="reviewed_by"),
    CheckConstraint("reviewed_by <> opened_by", name="reviewed_by_another"),
    UniqueConstraint("organization_id", "incident"),
    CheckConstraint("incident <> ''", name="incident"),
    CheckConstraint("expires_at > opened_at", name="window"),
)

switches = Table(
    "switches",
    metadata,
    Column("name", Text, primary_key=True),
    Column("starts_at", TIME, primary_key=True),
    Column("ends_at", TIME),
    Column("id", Text, nullable=False, unique=True),
    _one_of("name", terms.Switch),
    CheckConstraint("ends_at > starts_at", name="window"),
)

# --- reference data and policy --------------------------------------------------------------------------------

data_sets = Table(
    "data_sets",
    metadata,
    Column("id", Text, primary_key=True),  # SHA-256 of the content
    Column("version", Text, nullable=False),
    Column("reviewed_at", TIME),
    _created(),
)

jurisdictions = Table(
    "jurisdictions",
    metadata,
    Column("data_set_id", ForeignKey("data_sets.id"), primary_key=True),
    Column("code", Text, primary_key=True),
    Column("alpha3", Text),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("treatment", Text, nullable=False),
    Column("inherits", Text),
    Column("groups", TEXTS, nullable=False),
    Column("note", Text),
    _one_of("treatment", terms.Treatment),
    CheckConstraint("(treatment = 'inherits') = (inherits IS NOT NULL)", name="inherits"),
)

policy_revisions = Table(
    "policy_revisions",
    metadata,
    Column("number", Integer, Identity(always=True), primary_key=True),
    Column("sha256", Text, nullable=False, unique=True),
    Column("files", JSONB, nullable=False),
    _created(),
    Column("author", Text),  # a caller, who is never deleted
    Column("reason", Text),
    Column("parent", ForeignKey("policy_revisions.sha256")),  # the one that it was made from
    CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
)

# What was found out about a revision: `base` and `data_set` were in force then. Permanent.
policy_reports = Table(
    "policy_reports",
    metadata,
    Column("id", Text, primary_key=True),
    Column("policy", ForeignKey("policy_revisions.sha256"), index=True),
    Column("draft", JSONB, nullable=False),  # what else would be different
    Column("kind", Text, nullable=False),
    Column("base", Text),
    Column("data_set", Text),
    Column("passed", Boolean, nullable=False),
    Column("needs", JSONB, nullable=False),  # what its activation asks of the officers
    Column("figures", JSONB, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("made_by", Text, nullable=False),  # a caller, likewise
    _created(),
    _one_of("kind", terms.ReportKind),
    CheckConstraint("policy IS NOT NULL OR draft <> '{}'", name="draft"),
)

# What a report says of people, by nationality too: compliance alone reads it.
policy_report_contents = Table(
    "policy_report_contents",
    metadata,
    Column("report_id", ForeignKey("policy_reports.id"), primary_key=True),
    Column("members", JSONB, nullable=False),
)

# Cases that officers have added to those that ship: a file of them, by its name.
policy_cases = Table(
    "policy_cases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("content", JSONB, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("added_by", Text, nullable=False),  # a caller, likewise
    Column("lifted_at", TIME),
    _created(),
    Index("uq_policy_cases_standing", "name", unique=True, postgresql_where=text("lifted_at IS NULL")),
)

# Another policy beside the one in force: it decides for so many in a hundred from its start; at 0 it is watched alone.
rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("policy_revision", ForeignKey("policy_revisions.number"), nullable=False),
    Column("starts_at", TIME, nullable=False),
    Column("percent", SmallInteger, nullable=False),
    Column("organizations", TEXTS),  # whose people it decides for; null: everybody's
    Column("halt_after", Integer),  # answers that differ from the policy in force
    Column("outcome", Text),
    Column("ended_at", TIME),
    _created(),
    CheckConstraint("percent BETWEEN 0 AND 100", name="percent"),
    CheckConstraint("halt_after > 0", name="halt_after"),
    _one_of("outcome", terms.RolloutOutcome),
    CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name="ended"),
    Index("uq_rollouts_open", text("(true)"), unique=True, postgresql_where=text("ended_at IS NULL")),
)

# Answers that came out otherwise by the other policy of a rollout, by their facts.
policy_differences = Table(
    "policy_differences",
    metadata,
    Column("rollout_id", ForeignKey("rollouts.id"), primary_key=True),
    Column("vector", Text, primary_key=True),  # SHA-256 of the facts
    Column("before", Text, primary_key=True),  # by the policy in force
    Column("after", Text, primary_key=True),
    Column("facts", JSONB, nullable=False),
    Column("decisions", BigInteger, nullable=False),
    Column("first_at", TIME, nullable=False),
    Column("last_at", TIME, nullable=False),
)

# One row: what is in force.
programme = Table(
    "programme",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("policy_revision", ForeignKey("policy_revisions.number")),
    Column("data_set_id", ForeignKey("data_sets.id")),
    Column("demo", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint("one", name="one"),
)

# --- callers --------------------------------------------------------------------------------------------------

callers = Table(
    "callers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("roles", TEXTS, nullable=False),
    Column("organization_id", ForeignKey("organizations.id")),  # the one that it is confined to
    Column("models", TEXTS),  # what a gateway may ask about; null: all
    Column("organizations", TEXTS),
    Column("authority_id", ForeignKey("authorities.id")),  # an officer's one
    Column("person_id", ForeignKey("people.id")),  # who the caller is, where they are on record themselves
    _created(),
    CheckConstraint("(roles && ARRAY['org_admin', 'scim']) = (organization_id IS NOT NULL)", name="organization_id"),
    CheckConstraint("('officer' = ANY (roles)) = (authority_id IS NOT NULL)", name="authority_id"),
    CheckConstraint("name <> ''", name="name"),
    CheckConstraint("kind IN ('person', 'service')", name="kind"),
    _within("roles", list(terms.Role)),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("caller_id", ForeignKey("callers.id"), nullable=False, index=True),
    Column("hash", LargeBinary, nullable=False),
    Column("expires_at", TIME),
    Column("revoked_at", TIME),
    _created(),
    CheckConstraint("octet_length(hash) = 32", name="hash"),
)

# What widens access and waits for a second officer: permanent records. Decisions read nothing of them.
change_requests = Table(
    "change_requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("action", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("reference", Text),
    Column("members", JSONB, nullable=False),
    Column("before", JSONB, nullable=False),
    Column("after", JSONB, nullable=False),
    Column("etag", Text),
    Column("salt", Text),  # of the hash; null where it is among what is kept apart, and after an erasure
    Column("sha256", Text),  # of all that is asked for, as it was asked; null of what is older than these hashes
    Column("requested_by", ForeignKey("callers.id"), nullable=False),
    Column("state", Text, nullable=False, server_default=text("'requested'")),  # never expired: that, the time says
    Column("decided_by", ForeignKey("callers.id")),
    Column("decided_at", TIME),
    Column("reason", Text),  # of the decision
    Column("authority_id", ForeignKey("authorities.id")),  # the one whose officers may decide; null: any
    Column("expires_at", TIME, nullable=False),
    Column("simulation", ForeignKey("policy_reports.id")),  # that it rests on
    _created(),
    _one_of("action", terms.RequestedAction),
    CheckConstraint("state IN ('requested', 'approved', 'rejected', 'withdrawn')", name="state"),
    CheckConstraint("(state = 'requested') = (decided_by IS NULL)", name="decided_by"),
    CheckConstraint("state NOT IN ('approved', 'rejected') OR decided_by <> requested_by", name="two_people"),
    CheckConstraint("state <> 'rejected' OR reason IS NOT NULL", name="reason"),
)

# Where one approval is not enough: those given before the last.
change_request_approvals = Table(
    "change_request_approvals",
    metadata,
    Column("change_request_id", ForeignKey("change_requests.id"), primary_key=True),
    Column("approved_by", ForeignKey("callers.id"), primary_key=True),
    Column("person_id", ForeignKey("people.id"), nullable=False),
    Column("authority_id", ForeignKey("authorities.id")),  # whose officer approved
    Column("acknowledged", Integer, nullable=False),  # so many people by name
    Column("reason", Text),
    _created(),
    UniqueConstraint("change_request_id", "person_id", name="uq_change_request_approvals_person"),
)

# What a change request holds that compliance alone reads, such as nationality, until it is decided.
change_request_contents = Table(
    "change_request_contents",
    metadata,
    Column("change_request_id", ForeignKey("change_requests.id"), primary_key=True),
    Column("members", JSONB, nullable=False),
)

# What was answered to a change that was sent with an Idempotency-Key: digests of the key and of the request, and the
# answer under seal. It may name people, so nothing of it can be read without the key that the caller sent.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("request", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("created_at", TIME, nullable=False, server_default=func.clock_timestamp(), index=True),
    Column("told_at", TIME),  # again, for the last time
    Column("organization_id", Text, server_default=TENANT),  # the administrator's whose answer it is
    CheckConstraint("octet_length(id) = 32", name="id"),
    CheckConstraint("octet_length(request) = 32", name="request"),
)

# --- what an organization's identity provider says (SCIM) ------------------------------------------------------

# Decisions read nothing of it. A user is a person: what the registry has of them stands in `people` alone, and here is
# what the provider said, so that it is told the same again. Deleted is deleted to the provider: the person stays.
scim_users = Table(
    "scim_users",
    metadata,
    Column("person_id", Text, primary_key=True),
    Column("organization_id", Text, nullable=False),
    Column("user_name", Text),
    Column("external_id", Text),
    Column("attributes", JSONB, nullable=False),
    _created(),
    Column("changed_at", TIME, nullable=False, server_default=func.clock_timestamp()),
    Column("deleted_at", TIME),
    ForeignKeyConstraint(["organization_id", "person_id"], ["people.organization_id", "people.id"]),
    CheckConstraint("(user_name IS NULL) = (deleted_at IS NOT NULL)", name="deleted_at"),
    Index("uq_scim_users_user_name", "organization_id", text("lower(user_name)"), unique=True),
    Index("uq_scim_users_external_id", "organization_id", "external_id", unique=True),
)

# They record who is in them, and give nobody anything.
scim_groups = Table(
    "scim_groups",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False),
    Column("display_name", Text, nullable=False),
    Column("external_id", Text),
    _created(),
    Column("changed_at", TIME, nullable=False, server_default=func.clock_timestamp()),
    UniqueConstraint("organization_id", "id"),
    Index("uq_scim_groups_external_id", "organization_id", "external_id", unique=True),
)

scim_members = Table(
    "scim_members",
    metadata,
    Column("group_id", Text, primary_key=True),
    Column("person_id", Text, primary_key=True, index=True),
    Column("organization_id", Text, nullable=False),
    ForeignKeyConstraint(
        ["organization_id", "group_id"], ["scim_groups.organization_id", "scim_groups.id"], ondelete="CASCADE"
    ),
    ForeignKeyConstraint(["organization_id", "person_id"], ["people.organization_id", "people.id"]),
)

# --- who is invited -------------------------------------------------------------------------------------------

# Decisions read nothing of it. What it says of somebody goes when it is over: whoever accepted is in `people`.
invitations = Table(
    "invitations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False, index=True),
    Column("hash", LargeBinary, nullable=False),
    Column("members", JSONB),
    Column("requested_by", Text),  # who invited, as `people` will have it
    Column("state", Text, nullable=False, server_default=text("'open'")),  # never expired: that, the time says
    Column("person_id", Text),  # who accepted
    Column("expires_at", TIME, nullable=False),
    _created(),
    ForeignKeyConstraint(["organization_id", "person_id"], ["people.organization_id", "people.id"]),
    CheckConstraint("octet_length(hash) = 32", name="hash"),
    CheckConstraint("state IN ('open', 'accepted', 'withdrawn')", name="state"),
    CheckConstraint("state = 'open' OR num_nonnulls(members, requested_by) = 0", name="members"),
    CheckConstraint("(state = 'accepted') = (person_id IS NOT NULL)", name="person_id"),
)

# --- retention ------------------------------------------------------------------------------------------------

# What must be kept for an agency or a court, however old it is. Decisions read nothing of it.
legal_holds = Table(
    "legal_holds",
    metadata,
    Column("id", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("organization_id", ForeignKey("organizations.id"), index=True),
    Column("person_id", ForeignKey("people.id"), index=True),
    Column("matter", Text, nullable=False),
    Column("lifted_at", TIME),
    _created(),
    _one_of("scope", terms.HoldScope),
    CheckConstraint(
        "num_nonnulls(organization_id, person_id) = 1 AND (scope = 'person') = (person_id IS NOT NULL)", name="target"
    ),
    Index(
        "uq_legal_holds_standing",
        "scope",
        "organization_id",
        "person_id",
        "matter",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("lifted_at IS NULL"),
    ),
)

# By what an import knows the name of somebody who was erased, so that they do not come back by accident.
erased_people = Table(
    "erased_people",
    metadata,
    Column("person_id", ForeignKey("people.id"), primary_key=True),
    Column("organization_id", ForeignKey("organizations.id"), nullable=False, index=True),
    Column("salt", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the salt and the external id
    Column("erased_at", TIME, nullable=False, server_default=func.clock_timestamp()),
    CheckConstraint("octet_length(salt) = 16", name="salt"),
)

# --- the revision and the log ---------------------------------------------------------------------------------

revision = Table(
    "revision",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("n", BigInteger, nullable=False),
    Column("leaf", LargeBinary),
    CheckConstraint("one", name="one"),
)

revision_stamps = Table(
    "revision_stamps",
    metadata,
    Column("n", BigInteger, primary_key=True),
    Column("stamp", Uuid, nullable=False, server_default=func.gen_random_uuid()),
    Column("at", TIME, nullable=False, server_default=func.clock_timestamp()),
)

# A row is written when a key is touched and stamped with n by the bump of the same transaction.
touched = Table(
    "touched",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("xid", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("n", BigInteger),
    Index("ix_touched_n", "n"),
    Index("uq_touched_open", "xid", "key", unique=True, postgresql_where=text("n IS NULL")),
)

log_entries = Table(
    "log_entries",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("at", TIME, nullable=False),
    Column("type", Text, nullable=False),
    Column("writer", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("id", "at"),
    UniqueConstraint("writer", "n", "at"),
    CheckConstraint("octet_length(body) BETWEEN 2 AND 65535", name="body"),
    CheckConstraint("leaf = sha256('\\x00'::bytea || body)", name="leaf"),
    postgresql_partition_by="RANGE (at)",
)

# Entries that are not in the tree yet, in the order in which it takes them: `id` follows `n` within a writer.
log_queue = Table(
    "log_queue",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("entry_id", Uuid, nullable=False),
    Column("at", TIME, nullable=False),
    Column("refused", Text),  # why it never enters the tree
)

log_leaves = Table(
    "log_leaves",
    metadata,
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Uuid, nullable=False, unique=True),
    Column("at", TIME, nullable=False),
)

# C2SP tlog-tiles: tile `index` of a level holds up to 256 hashes of perfect subtrees of 256**level leaves.
log_tiles = Table(
    "log_tiles",
    metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
    CheckConstraint("octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0", name="hashes"),
)

log_head = Table(
    "log_head",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    CheckConstraint("one", name="one"),
    CheckConstraint("octet_length(root) = 32", name="root"),
)

# Signed notes; witnesses' lines are added to them later.
log_checkpoints = Table(
    "log_checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", LargeBinary, nullable=False),
    Column("at", TIME, nullable=False, server_default=func.clock_timestamp()),
)

# RFC 3161 tokens over the texts of these notes; no foreign key, which would speak before the triggers that refuse.
log_timestamps = Table(
    "log_timestamps",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("token", LargeBinary, nullable=False),
    Column("at", TIME, nullable=False, server_default=func.clock_timestamp()),
)

# What was dropped when its time was over: the leaves stand in the tree, the entries are gone.
log_prunes = Table(
    "log_prunes",
    metadata,
    Column("before", Date, primary_key=True),
    Column("entries", BigInteger, nullable=False),
    Column("first", BigInteger),
    Column("last", BigInteger),
    Column("at", TIME, nullable=False, server_default=func.clock_timestamp()),
)

# The public keys, as C2SP signed-note writes them, that signed or sign. Verifiers must have them from elsewhere.
log_keys = Table(
    "log_keys",
    metadata,
    Column("verifier", Text, primary_key=True),
    Column("created_at", TIME, nullable=False, server_default=func.clock_timestamp()),
    Column("retired_at", TIME),
)

# --- the past -------------------------------------------------------------------------------------------------

# What decisions rest on; of each row every version is kept with the time in which it held.
KEPT = (
    authorities, models, organizations, ownerships, organization_screenings, grants, directives, directive_exemptions,
    people, approvals, person_screenings, export_assessments, nationality_records, agents, endpoints,
    grant_listed_people, seats, stops, break_glasses, switches, data_sets, programme, rollouts, callers,
    api_keys,
)  # fmt: skip


def _history(table: Table) -> Table:
    keys = [column.name for column in table.primary_key]
    return Table(
        f"{table.name}_history",
        metadata,
        *(Column(column.name, column.type, nullable=column.name not in keys) for column in table.columns),
        Column("valid", TSTZRANGE, nullable=False),
        # The migration makes the key temporal: (..., valid WITHOUT OVERLAPS).
        PrimaryKeyConstraint(*keys, "valid"),
        Index(f"ix_{table.name}_history_open", *keys, unique=True, postgresql_where=text("upper_inf(valid)")),
    )


# Postgres knows times without end, Python does not: such a record could not be read.
for _table in KEPT:
    for _column in [each for each in _table.columns if isinstance(each.type, Date | DateTime)]:
        _table.append_constraint(CheckConstraint(f"isfinite({_column.name})", name=f"{_column.name}_finite"))

history = {table.name: _history(table) for table in KEPT}
