"""Every playbook stands alone: it checks variables and who acts before anything else, whatever tags are asked for."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.playbooks.runs import Aws, adopted, answering, filled, run
from tests.support.paths import ROOT

OURS, FOREIGN = "123456789012", "999999999999"
PLAYBOOKS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "site.yml", *ROOT.glob("playbooks/*.yml")]
    if not path.name.startswith(("sandbox", "try"))  # on this machine only
)
OTHERS = [playbook for playbook in PLAYBOOKS if playbook != "site.yml"]
ROLES = ",".join(sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/main.yml")))
TAGS = ("terraform", "deployment_facts", "receiver", "iot_core", "device", "verify", ROLES)
# Groups of hosts that exist only once who acts was checked.
CHECKED = {"deployment_checked", "provisioned", "devices_here"}
# Hosts that are no part of AWS; what is called for them is delegated, from plays of a group above.
BESIDE = {"edge", "kits", "sandbox"}


@pytest.fixture(scope="module", name="foreign")
def _foreign() -> Iterator[Aws]:
    with answering(FOREIGN) as aws:
        yield aws


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_no_play_acts_unchecked(playbook: str) -> None:
    plays = yaml.safe_load((ROOT / playbook).read_text())
    if playbook != "playbooks/preflight.yml":
        first = plays[0].get("ansible.builtin.import_playbook", "")
        assert first.endswith(("preflight.yml", "deployment.yml")), f"{playbook} begins with {plays[0]}"
        for play in plays:
            checks = play.get("ansible.builtin.import_playbook") in {"preflight.yml", "deployment.yml"}
            assert not (checks and "tags" in play), "no tag may leave out the checks"
            assert "hosts" not in play or play["hosts"] in CHECKED | BESIDE, f"{play['name']}: {play['hosts']}"
    else:
        assert [task["tags"] for task in plays[0]["tasks"]] == [["always"]] * len(plays[0]["tasks"])
        assert "tags" not in plays[0], "no tag may select or leave out the checks"


@pytest.mark.parametrize("playbook", ["site.yml", *(pytest.param(name, marks=pytest.mark.long) for name in OTHERS)])
def test_an_unfilled_inventory_is_refused(playbook: str, tmp_path: Path) -> None:
    done = run(tmp_path, playbook, variables={"preflight_tools": []})
    assert done.status != 0, done.output
    assert "3 problems to fix before anything is changed" in done.output
    for name in ("aws_account_id (not set)", "receiver_domain is required", "terraform_backend of type s3"):
        assert name in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["site.yml"],
        *(pytest.param([name], marks=pytest.mark.long) for name in OTHERS),
        *(pytest.param(["site.yml", "--tags", tag], marks=pytest.mark.long) for tag in TAGS),
    ],
    ids=" ".join,
)
def test_credentials_of_another_account_are_refused(arguments: list[str], foreign: Aws, tmp_path: Path) -> None:
    foreign.others.clear()
    done = run(tmp_path, *arguments, variables=filled(foreign, OURS, tmp_path))
    assert done.status != 0, done.output
    assert f"The credentials are of account {FOREIGN}" in done.output
    assert f"aws_account_id is {OURS}" in done.output
    assert foreign.others == []


def test_a_start_at_a_later_task_does_nothing(foreign: Aws, tmp_path: Path) -> None:
    foreign.others.clear()
    later = ("--start-at-task", "iot_core : Disable the rule*")
    done = run(tmp_path, "playbooks/teardown.yml", *later, variables=filled(foreign, OURS, tmp_path))
    assert "No matching task" in done.output
    assert "TASK [" not in done.output
    assert foreign.others == []


def test_a_profile_beside_keys_is_refused(foreign: Aws, tmp_path: Path) -> None:
    variables = filled(foreign, FOREIGN, tmp_path)
    variables["aws_environment"]["AWS_PROFILE"] = "work"
    done = run(tmp_path, "playbooks/preflight.yml", variables=variables)
    assert done.status != 0
    assert "AWS_PROFILE (work) and AWS_ACCESS_KEY_ID are both set" in done.output
    assert "unset AWS_PROFILE" in done.output


def test_infrastructure_of_another_account_is_refused(foreign: Aws, tmp_path: Path) -> None:
    variables = filled(foreign, FOREIGN, tmp_path) | {"terraform_enabled": False, "infrastructure_account_id": OURS}
    done = run(tmp_path, "playbooks/preflight.yml", variables=variables)
    assert done.status != 0
    assert f"infrastructure_account_id is {OURS}" in done.output


@pytest.fixture(scope="module", name="initialised")
def _initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for Terraform's own, which takes half a run's time to initialise."""
    return tmp_path_factory.mktemp("deployment")


@pytest.mark.parametrize("playbook", ["playbooks/verify.yml", "playbooks/redrive.yml"])
def test_a_playbook_with_nothing_to_work_on_fails(
    playbook: str, foreign: Aws, initialised: Path, tmp_path: Path
) -> None:
    """A gate such as verify.yml must not pass because there was nothing to verify."""
    done = run(tmp_path, playbook, variables=filled(foreign, FOREIGN, initialised))
    assert done.status != 0, done.output
    assert f"Nothing is deployed as iot-receiver in account {FOREIGN}" in done.output


def test_a_name_of_somebody_else_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with answering(OURS) as aws:
        aws.things = {"kit-1": {"Deployment": "prod"}}
        own = {"device_kit_things": ["kit-1"], "preflight_permissions_checked": False}
        done = run(tmp_path, "playbooks/infrastructure.yml", variables=adopted(aws, OURS, tmp_path) | own)
    assert done.status != 0, done.output
    assert "thing kit-1 (Deployment is prod, not iot-receiver): choose another verify_thing, or name in" in done.output
    assert "run site.yml with -e deployment_adopt=true" in done.output
    assert "run_lock" not in done.output


def test_a_folder_of_inventories_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "playbooks/preflight.yml", "-i", "inventory/example", variables={"preflight_tools": []})
    assert done.status != 0
    assert "holds several inventories" in done.output


@pytest.mark.parametrize(("account", "asked"), [(FOREIGN, True), (OURS, False)])
def test_a_work_folder_of_an_earlier_release_is_moved_first(account: str, asked: bool, tmp_path: Path) -> None:
    """Only by whom it belongs to: another account's deployment may have the same name."""
    name = f"earlier-{tmp_path.name[-8:].strip('_').lower()}"
    former = ROOT / "build" / name
    (former / "terraform").mkdir(parents=True)
    stack = {"account_id": FOREIGN, "region": "us-east-2"}
    (former / "terraform/main.tf.json").write_text(json.dumps({"module": {"stack": stack}}))
    variables = {"preflight_tools": [], "deployment_name": name, "aws_account_id": account, "receiver_domain": ""}
    try:
        done = run(tmp_path, "playbooks/preflight.yml", variables=variables)
    finally:
        shutil.rmtree(former)
    assert (f"mv {former} {ROOT}/build/{FOREIGN}/us-east-2/{name}" in done.output) is asked


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("iot_topc", "iot_topc is not a variable of role deployment_defaults, but iot_topic is"),
        ("aws_acount_id", "aws_acount_id is not a variable of role deployment_defaults, but aws_account_id is"),
        ("measurement", "measurement is not a variable of role deployment_defaults, but measurements is"),
        ("iot_core_topic", "iot_core_topic is no longer a variable. Set iot_topic"),
        ("iot_core_secret_header", "iot_core_secret_header is no longer a variable. Remove it"),
    ],
)
def test_a_name_that_nothing_reads_is_refused(name: str, said: str, tmp_path: Path) -> None:
    done = run(tmp_path, "playbooks/preflight.yml", variables={"preflight_tools": [], name: "x"})
    assert done.status != 0
    assert said in done.output


def test_stack_variables_that_roles_read_as_well_are_refused(tmp_path: Path) -> None:
    variables = {"preflight_tools": [], "terraform_variables": {"namespace": "telemetry", "rule_name": "mine"}}
    done = run(tmp_path, "playbooks/preflight.yml", variables=variables)
    assert "terraform_variables sets namespace, rule_name" in done.output
    assert "set receiver_namespace, iot_rule_name in group_vars instead" in done.output


@pytest.mark.parametrize(
    ("variables", "faulty"),
    [
        ({"deployment_name": "internal-receiver"}, True),
        ({"receiver_load_balancer_name": "internal-receiver"}, True),
        ({"receiver_load_balancer_name": "receiver-"}, True),
        ({"receiver_load_balancer_name": "Receiver-1"}, False),
        ({"deployment_name": "internal-receiver", "receiver_load_balancer_name": "receiver"}, False),
    ],
)
def test_a_name_that_no_load_balancer_may_have_is_refused(
    variables: dict[str, str], faulty: bool, tmp_path: Path
) -> None:
    done = run(tmp_path, "playbooks/preflight.yml", variables={"preflight_tools": [], **variables})
    assert ("receiver_load_balancer_name (" in done.output) is faulty


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["playbooks/verify.yml", "--tags", "recever"], "has no tag recever, so nothing was done. Its tags are verify"),
        (["playbooks/teardown.yml", "--skip-tags", "terraform"], "has no tag terraform, so nothing was done. It has"),
        (["site.yml", "--tags", "receiver", "--skip-tags", "always"], "Run it without --skip-tags always"),
        (["playbooks/redrive.yml", "--skip-tags", "always"], "Run it without --skip-tags always"),
        (["playbooks/monitoring.yml", "--skip-tags", "kube_prometheus_stack"], "has nothing to do with --skip-tags"),
        (["site.yml", "--tags", "sandbox"], "has nothing to do with --tags sandbox, so nothing was done"),
    ],
    ids=["unknown", "unknown left out", "no checks", "no checks of any tag", "all of it left out", "an empty group"],
)
def test_tags_that_leave_nothing_to_do_are_refused(
    arguments: list[str], said: str, foreign: Aws, tmp_path: Path
) -> None:
    foreign.others.clear()
    done = run(tmp_path, *arguments, variables=filled(foreign, FOREIGN, tmp_path))
    assert done.status != 0, done.output
    assert said in done.output
    assert foreign.others == []


def test_checks_are_made_whatever_is_left_out(foreign: Aws, tmp_path: Path) -> None:
    left_out = ("--skip-tags", "preflight,deployment_facts")
    done = run(tmp_path, "playbooks/receiver.yml", *left_out, variables=filled(foreign, OURS, tmp_path))
    assert done.status != 0, done.output
    assert f"The credentials are of account {FOREIGN}" in done.output


def test_a_limit_that_leaves_nothing_to_do_is_refused(foreign: Aws, tmp_path: Path) -> None:
    inventory = tmp_path / "edge.yml"
    inventory.write_text("edge: {hosts: {edge-1: }}\n")
    limited = ("-i", str(inventory), "--limit", "edge-1")
    done = run(tmp_path, "playbooks/verify.yml", *limited, variables=filled(foreign, FOREIGN, tmp_path))
    assert done.status != 0, done.output
    assert "This run leaves out localhost" in done.output
    assert "Run it with --limit localhost,edge-1" in done.output
