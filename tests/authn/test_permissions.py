import pytest

from mythos_gate.authn.api_keys import Caller
from mythos_gate.authn.permissions import Permissions
from mythos_gate.errors import Misconfigured, NotPermitted
from mythos_gate.settings import root
from mythos_gate.terms import Permission, Role


def caller(*roles: Role) -> Caller:
    return Caller("cal_1", "somebody", "key", frozenset(roles))


@pytest.fixture(scope="module")
def permissions() -> Permissions:
    return Permissions(root() / "policies" / "admin.csv")


def test_a_gateway_asks_and_nothing_else(permissions):
    assert permissions.of([Role.GATEWAY]) == {Permission.EVALUATE, Permission.READ_DECISIONS}


def test_compliance_changes_and_does_not_read_the_whole_log(permissions):
    assert permissions.of([Role.COMPLIANCE]) == set(Permission) - {Permission.READ_LOG, Permission.PROVISION}


def test_an_auditor_reads_and_changes_nothing(permissions):
    given = permissions.of([Role.AUDITOR])
    assert Permission.READ_LOG in given
    assert not given & {Permission.EVALUATE, Permission.SUSPEND, Permission.IMPORT, Permission.ACTIVATE_POLICY}


def test_an_officer_administers_and_sees_nobody(permissions):
    assert permissions.of([Role.OFFICER]) == {
        Permission.READ_REGISTRY,
        Permission.READ_PROGRAMME,
        Permission.READ_ATTENTION,
        Permission.ADMINISTER,
        Permission.SUSPEND,
        Permission.APPROVE_POLICY,
    }


def test_an_administrator_handles_staff_alone(permissions):
    assert permissions.of([Role.ORG_ADMIN]) == {
        Permission.READ_STAFF,
        Permission.READ_ATTENTION,
        Permission.ENROL,
        Permission.REVIEW,
        Permission.SUSPEND_STAFF,
    }


def test_an_operator_handles_keys_alone(permissions):
    assert permissions.of([Role.OPERATOR]) == {Permission.READ_PROGRAMME, Permission.OPERATE}


def test_roles_add_up(permissions):
    assert permissions.has(caller(Role.GATEWAY, Role.AUDITOR), Permission.READ_LOG)


def test_what_no_role_gives_is_refused(permissions):
    with pytest.raises(NotPermitted, match="suspend"):
        permissions.require(caller(Role.GATEWAY), Permission.SUSPEND)
    with pytest.raises(NotPermitted):
        permissions.require(caller(), Permission.EVALUATE)


@pytest.mark.parametrize(
    "line",
    ["p, gateway, evaluat", "p, gatway, evaluate", "p, gateway", "p, gateway, evaluate, allow", "gateway, evaluate"],
)
def test_a_misspelt_line_is_refused_with_its_number(tmp_path, line):
    path = tmp_path / "admin.csv"
    path.write_text(f"# who\n{line}\n")
    with pytest.raises(Misconfigured, match="line 2"):
        Permissions(path)


def test_an_empty_file_permits_nothing(tmp_path):
    path = tmp_path / "admin.csv"
    path.write_text("")
    assert not Permissions(path).of(Role)


@pytest.mark.parametrize(
    ("role", "given"),
    [
        (Role.GATEWAY, "evaluate read_decisions"),
        (Role.OFFICER, "read_registry read_programme read_attention administer suspend approve_policy"),
        (Role.ORG_ADMIN, "read_staff read_attention enrol review suspend_staff"),
        (Role.OPERATOR, "read_programme operate"),
        (Role.SCIM, "provision"),
        (Role.AUDITOR, "explain read_decisions read_log read_registry read_programme"),
    ],
    ids=str,
)
def test_a_role_is_given_this_and_nothing_else(permissions, role, given):
    assert permissions.of([role]) == {Permission(each) for each in given.split()}
