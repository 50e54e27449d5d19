"""The collections as others get them: built, installed elsewhere, used by full names only."""

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.collection.calls import calls
from tests.collection.conftest import CREDENTIALS
from tests.collection.helpers import Aws
from tests.collection.receivers import Receiver
from tests.support.paths import ROOT

SOURCE = ROOT / "collections/ansible_collections/iotweb"
DEPENDENCIES = {
    "aws_iot": {"amazon.aws": ">=9.0.0"},
    "deployment": {"amazon.aws": ">=9.0.0", "iotweb.aws_iot": ">=2.0.0", "kubernetes.core": ">=5.0.0"},
}
CREDENTIAL_OPTIONS = {"region", "access_key", "endpoint_url", "profile"}


def modules(collection: str) -> list[str]:
    """Full names of a collection's modules; an action without a module has its documentation among them."""
    return sorted(f"iotweb.{collection}.{path.stem}" for path in (SOURCE / collection / "plugins/modules").glob("*.py"))


PLAYBOOK: list[dict[str, Any]] = [{
    "hosts": "localhost",
    "gather_facts": False,
    "module_defaults": {"group/iotweb.aws_iot.aws_iot": {**CREDENTIALS, "region": "us-east-2"}},
    "tasks": [
        {"name": "Thing", "iotweb.aws_iot.iot_thing": {"name": "elsewhere", "endpoint_url": "{{ endpoint }}"}},
        {"name": "Look", "iotweb.aws_iot.iot_thing_info": {"name": "elsewhere", "endpoint_url": "{{ endpoint }}"},
         "register": "found"},
        {"name": "Found", "ansible.builtin.assert": {"that": "found.things[0].thing_name == 'elsewhere'"}},
        {"name": "Destination", "iotweb.aws_iot.iot_topic_rule_destination": {
            "confirmation_url": "{{ url }}", "endpoint_url": "{{ endpoint }}", "wait_timeout": 60,
            "resend_after": 11}, "register": "made"},
        {"name": "Enabled", "ansible.builtin.assert": {"that": [
            "made is changed", "made.destination.status == 'ENABLED'", "made.diff.before == {}",
            "made.progress | map(attribute='status') == ['ABSENT', 'IN_PROGRESS', 'ENABLED']",
            "made.progress[-1].after > 10"]}},
        {"name": "In the background", "iotweb.aws_iot.iot_topic_rule_destination": {
            "confirmation_url": "{{ item }}", "endpoint_url": "{{ endpoint }}", "state": "absent"},
         "loop": ["{{ url }}", "{{ url }}/other"], "async": 60, "poll": 1, "register": "gone"},
        {"name": "Gone", "ansible.builtin.assert": {
            "that": "gone.results | map(attribute='changed') == [true, false]"}},
    ],
}]  # fmt: skip


def ansible(folder: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's programs in a folder that knows nothing of this project."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "AWS_"))}
    environment |= {"ANSIBLE_COLLECTIONS_PATH": str(folder), "ANSIBLE_HOME": str(folder / "home"), "LC_ALL": "C.UTF-8",
                    "ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_DIFF_ALWAYS": "true"}  # fmt: skip
    whole = [str(Path(sys.executable).parent / command), *arguments]
    return subprocess.run(whole, cwd=folder, env=environment, capture_output=True, text=True, check=True)


@pytest.fixture(name="installed", scope="module")
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the built collections are installed in."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for collection in DEPENDENCIES:
        ansible(folder, "ansible-galaxy", "collection", "build", str(SOURCE / collection), "--output-path", str(folder))
        (artefact,) = folder.glob(f"iotweb-{collection}-*.tar.gz")
        ansible(folder, "ansible-galaxy", "collection", "install", str(artefact), "--no-deps", "-p", str(folder))
    return folder


@pytest.mark.parametrize("collection", DEPENDENCIES)
def test_it_holds_what_it_needs_and_no_more(installed: Path, collection: str) -> None:
    (artefact,) = installed.glob(f"iotweb-{collection}-*.tar.gz")
    with tarfile.open(artefact) as archive:
        names = archive.getnames()
        described = json.load(archive.extractfile("MANIFEST.json"))["collection_info"]  # type: ignore[arg-type]
    source = SOURCE / collection
    plugins = {str(path.relative_to(source)) for path in source.glob("plugins/*/*.*")}
    assert plugins <= set(names)
    assert not [name for name in names if "cache" in name or name.endswith((".pyc", "~"))]
    assert described["dependencies"] == DEPENDENCIES[collection]
    assert f"## {described['version']}\n" in (source / "CHANGELOG.md").read_text()
    readme = (source / "README.md").read_text()
    assert [module for module in modules(collection) if f"`{module}`" not in readme] == []


@pytest.mark.parametrize("collection", DEPENDENCIES)
def test_every_module_is_documented(installed: Path, collection: str) -> None:
    names = modules(collection)
    listed = json.loads(ansible(installed, "ansible-doc", "-t", "module", "-l", "-j", f"iotweb.{collection}").stdout)
    assert sorted(listed) == names
    documents = json.loads(ansible(installed, "ansible-doc", "-t", "module", "-j", *names).stdout)
    runtime = yaml.safe_load((SOURCE / collection / "meta/runtime.yml").read_text())
    [group] = runtime["action_groups"].values()
    for name, document in documents.items():
        assert (name.rpartition(".")[2] in group) is (set(document["doc"]["options"]) >= CREDENTIAL_OPTIONS), name
        assert {"check_mode", "diff_mode"} <= set(document["doc"]["attributes"]), name
        examples = [task for task in yaml.safe_load(document["examples"]) if name in task]
        assert examples, name
        for task in examples:
            known = {alias for option, about in document["doc"]["options"].items()
                     for alias in (option, *about.get("aliases", []))}  # fmt: skip
            assert set(task[name] or {}) <= known, task["name"]
        assert document["return"] or name == "iotweb.deployment.ecr_login", name
        assert document["doc"]["author"], name


def test_the_modules_of_aws_iot_name_their_permissions_and_take_credentials(installed: Path) -> None:
    documents = json.loads(ansible(installed, "ansible-doc", "-t", "module", "-j", *modules("aws_iot")).stdout)
    for name, document in documents.items():
        assert set(document["doc"]["options"]) >= CREDENTIAL_OPTIONS, name
        notes = " ".join(document["doc"]["notes"])
        assert set(re.findall(r"C\(iot:(\w+)\)", notes)) == calls(f"modules.{name.rpartition('.')[2]}"), name


def test_the_filters_are_documented(installed: Path) -> None:
    names = [f"iotweb.deployment.{path.stem}" for path in (SOURCE / "deployment/plugins/filter").glob("*.py")]
    documents = json.loads(ansible(installed, "ansible-doc", "-t", "filter", "-j", *names).stdout)
    for name in names:
        assert documents[name]["doc"]["options"], name
        assert name in documents[name]["examples"], name


@pytest.mark.long
def test_it_works_elsewhere_and_shows_how_it_waits(
    installed: Path, endpoint: str, aws: Aws, receiver: Receiver
) -> None:
    receiver.silent_for = 1
    (installed / "play.json").write_text(json.dumps(PLAYBOOK))
    facts = json.dumps({"endpoint": endpoint, "url": receiver.url, "ansible_python_interpreter": sys.executable})
    shown = ansible(installed, "ansible-playbook", "play.json", "-e", facts).stdout
    assert f"Destination {receiver.url} is IN_PROGRESS after 1" in shown
    assert " of 60 s" in shown
    assert aws("iot").describe_thing(thingName="elsewhere")["thingName"] == "elsewhere"
    assert "failed=0" in shown
