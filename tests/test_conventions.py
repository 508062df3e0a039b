"""Conventions that hold themselves; each first shows that it is not vacuous."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib

from fastapi.routing import APIRoute

from mythos_gate import app, errors, tables
from mythos_gate.api.problems import KINDS
from mythos_gate.decision import fill
from mythos_gate.decision.policy import Policy, read_files
from mythos_gate.settings import Settings, root
from mythos_gate.terms import FACTS, Permission

# What needs no key.
METADATA = "/.well-known/authzen-configuration"
# The log's tree is for everybody: hashes that say nothing of what they cover.
TREE = {"/checkpoint", "/tile/{level}/{index}", "/v1/log/consistency", "/v1/log/keys", "/v1/log/timestamps/{size}"}
# Whoever accepts an invitation has its token, and no key yet.
INVITED = "/v1/invitations/accept"
PUBLIC = {INVITED, "/health/live", "/health/ready", METADATA, f"{METADATA}/{{tenant}}", "/openapi.json", *TREE}
HOT = {"/access/v1/evaluation", "/access/v1/evaluations"}
SEARCHES = {f"/access/v1/search/{kind}" for kind in ("subject", "resource", "action")}
DECIDING = HOT | {"/forward-auth", "/v1/explain", "/v1/decisions/explain"} | SEARCHES


def _migration():
    path = root() / "migrations" / "versions" / "0002_revision_and_log.py"
    spec = importlib.util.spec_from_file_location("migration", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_error_has_a_status():
    family = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.GateError)}
    assert len(family) >= 8
    assert family - {errors.GateError} == set(KINDS)


def test_every_setting_has_a_line_in_the_operations_page():
    page = (root() / "docs" / "operations.md").read_text()
    names = {
        name.upper() if name == "database_url" else f"MYTHOS_GATE_{name.upper()}" for name in Settings.model_fields
    }
    assert len(names) >= 10
    assert sorted(name for name in names if f"`{name}`" not in page) == []


CONTROLS = {f"AU-{number}" for number in range(2, 13)} | {
    "AC-2", "AC-3", "AC-5", "AC-6", "IA-2", "IA-5", "SC-8", "SC-28",
}  # fmt: skip


def test_every_control_of_the_operations_page_names_tests_that_there_are():
    page = (root() / "docs" / "operations.md").read_text().partition("\n## Controls\n")[2].partition("\n## ")[0]
    table = [row for row in page.splitlines() if re.match(r"\| [A-Z]", row)]
    rows = {row.split()[1]: re.findall(r"`(tests/\S+)::(\w+)`", row) for row in table}
    assert rows.keys() == CONTROLS
    assert [control for control, named in rows.items() if not named] == []
    named = {each for row in rows.values() for each in row}
    assert len(named) == page.count("::")
    functions = {
        (path, node.name)
        for path in {path for path, _ in named}
        if (root() / path).is_file()
        for node in ast.parse((root() / path).read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert named - functions == set()


def test_every_type_of_entry_has_a_line_in_the_page_of_the_log():
    written = {
        found
        for path in (root() / "src" / "mythos_gate").rglob("*.py")
        for found in re.findall(r"(?:\bchange|\bnote)\(\s*\"(\w+)\"", path.read_text())
    }
    assert len(written) > 50
    page = (root() / "docs" / "log.md").read_text()
    # Of it an entry says what was done instead.
    assert {each for each in written if f"`{each}`" not in page} == {"provisioned"}


def test_every_table_that_decisions_rest_on_is_kept_and_touches_keys():
    migration = _migration()
    kept = migration.KEPT | {"rollouts": ("id",)}  # of a later migration
    assert {table.name for table in tables.KEPT} == set(kept)
    assert len(tables.KEPT) > 15
    for table in tables.KEPT:
        keys = kept[table.name][0].split(", ")
        assert [column.name for column in table.primary_key] == keys, table.name


def test_every_table_that_the_records_statement_reads_touches_keys():
    read = set(re.findall(r"(?:FROM|JOIN) (\w+)", fill.READ)) & set(tables.metadata.tables)
    migration = _migration()
    # Counters and what is known by its content's hash; the revision itself.
    free = {"seat_counts", "policy_revisions", "jurisdictions", "revision", "revision_stamps", "touched"}
    assert len(read) > 15
    assert read - free <= {*migration.KEPT, "rollouts"}


def _routes() -> list[APIRoute]:
    return [route for route in app.create(Settings()).routes if isinstance(route, APIRoute)]


def declared(route: APIRoute) -> set[Permission]:
    """The permissions that a route's signature asks for, its dependencies' own signatures included."""
    found, waiting = set(), [route.dependant]
    while waiting:
        dependant = waiting.pop()
        waiting += dependant.dependencies
        permission = getattr(dependant.call, "permission", None)
        found |= {permission} if isinstance(permission, Permission) else set()
    return found


def test_every_route_declares_who_may_call():
    """Of whatever the application serves: exactly one permission, unless it is on the list of what is public."""
    served = app.create(Settings()).routes
    assert len(served) > 90
    asked = {}
    for route in served:
        path = re.sub(":path}", "}", str(getattr(route, "path", route)))
        for method in getattr(route, "methods", None) or {"*"}:
            asked[method, path] = declared(route) if isinstance(route, APIRoute) else set()
    assert {path for (_, path), permissions in asked.items() if not permissions} == PUBLIC
    assert [route for route, permissions in asked.items() if len(permissions) > 1] == []
    assert {path for _, path in asked} >= app.create(Settings()).openapi()["paths"].keys()


def test_every_fact_and_reason_of_the_baseline_is_in_the_vocabulary():
    policy = Policy(read_files(root() / "policies"))
    assert {fact for row in policy.rows for fact in row.cells} <= set(FACTS)
    unused = set(policy.reasons) - {row.reason for row in policy.rows}
    assert unused == {"AGENT_SPONSOR_DENIED", "BREAK_GLASS_NOT_PERMITTED", "NO_APPLICABLE_RULE"}


def test_the_glossary_and_the_reasons_have_no_unnamed_term():
    page = (root() / "docs" / "glossary.md").read_text().lower()
    for term in ("pdp", "pep", "grant", "directive", "deemed export", "foreign person", "entry", "leaf", "seat"):
        assert term in page


SCREEN = 40  # lines
# Longer for a reason.
LONG = {
    "resources._add_writing": "two routes with what FastAPI is told of them, for each kind of record",
}


def _functions():
    for path in sorted((root() / "src" / "mythos_gate").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield f"{path.stem}.{node.name}", node.end_lineno - node.lineno + 1


def test_no_function_is_longer_than_a_screen_without_a_stated_reason():
    found: dict[str, int] = {}
    for name, lines in _functions():
        found[name] = max(lines, found.get(name, 0))
    assert len(found) > 400
    assert {name for name, lines in found.items() if lines > SCREEN} == LONG.keys()


def test_every_module_is_within_a_layer():
    """lint-imports holds the order; this holds that nothing is left out of it, and that the contract is exhaustive."""
    contract = tomllib.loads((root() / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layers = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    found = (root() / "src" / "mythos_gate").iterdir()
    modules = {path.stem for path in found if path.is_dir() or path.suffix == ".py"} - {"__init__"}
    assert len(layers) > 12
    assert contract["exhaustive"] is True
    assert modules - {"__pycache__"} == layers


# What is of a person; `country_group` says whom an officer looks for, not what anybody is.
PERSONAL = {"name", "email", "us_person", "us_basis", "nationality", "citizenships", "permanent_residencies", "country",
            "evidence_expires", "work_country"}  # fmt: skip


def test_no_url_has_a_place_for_personal_data():
    document = app.create(Settings()).openapi()
    parameters = [
        (path, parameter["name"].lower(), parameter["in"])
        for path, operations in document["paths"].items()
        for operation in operations.values()
        for parameter in operation.get("parameters", ())
    ]
    assert len(parameters) > 60
    assert [each for each in parameters if each[2] != "header" and each[1] in PERSONAL] == []


LATE = {"z3", "pyarrow"}  # optional, and slow to load


def test_whoever_serves_loads_no_solver():
    """Nor does a command that asks for none."""
    code = "import sys, mythos_gate.app, mythos_gate.cli, mythos_gate.analysis.checks; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(told.stdout.split())
    assert "mythos_gate.analysis.world" in loaded
    assert loaded & LATE == set()
