"""docker-compose.yml against the schema of the Compose specification, as a package of the registry ships it."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import pytest
import yaml

from mythos_gate.settings import Settings, root

pytestmark = pytest.mark.integration
COMPOSE = yaml.safe_load((root() / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("compose")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), "docker-compose==1.29.2"]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    return json.loads(zipfile.ZipFile(wheel).read("compose/config/compose_spec.json"))


def test_the_file_is_what_the_specification_says(schema):
    validator = jsonschema.Draft201909Validator(schema)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    assert not validator.is_valid(COMPOSE | {"services": {"gate": {"imagine": "x"}}})


def test_every_service_that_runs_says_whether_it_is_healthy():
    once = {"upgrade", "certificates"}
    running = COMPOSE["services"].keys() - once
    assert running == {"db", "gate", "model", "gateway"}
    assert {name for name in running if "healthcheck" in COMPOSE["services"][name]} == running
    conditions = {
        (name, needed, how["condition"])
        for name, service in COMPOSE["services"].items()
        for needed, how in service.get("depends_on", {}).items()
    }
    assert all((how == "service_completed_successfully") == (needed in once) for _, needed, how in conditions)


def test_no_secret_has_a_default_and_every_file_is_there():
    text = (root() / "docker-compose.yml").read_text()
    for secret in ("POSTGRES_PASSWORD", "MYTHOS_GATE_DIGEST_KEY"):
        assert f"${{{secret}:?" in text
    assert "${GATE_KEY:-}" in text  # empty: the gate answers 401, and nginx refuses everybody
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (root() / source).is_file(), volume
    for entry in ("deploy/certificates.sh", "deploy/model.py", "Dockerfile"):
        assert Path(root(), entry).is_file()


def test_every_variable_of_the_gate_and_of_the_template_is_known():
    names = {"DATABASE_URL", *(f"MYTHOS_GATE_{name.upper()}" for name in Settings.model_fields)}
    assert set(COMPOSE["services"]["gate"]["environment"]) <= names
    template = (root() / "deploy" / "nginx.conf.template").read_text()
    given = COMPOSE["services"]["gateway"]["environment"]
    assert {part.split("}")[0] for part in template.split("${")[1:] if part[0].isupper()} == set(given)
