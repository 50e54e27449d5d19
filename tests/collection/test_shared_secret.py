"""Role shared_secret's module: each step of a rotation, begun, interrupted and repeated."""

import json
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.iotweb.deployment.plugins.modules import shared_secret

from tests.collection.conftest import CREDENTIALS

Aws = Callable[[str], Any]


class Secret:
    """A secret of the emulated account, by the module and by a foreign client."""

    def __init__(self, endpoint: str, client: Any, name: str) -> None:
        self.client = client
        self.arn = client.create_secret(Name=name)["ARN"]
        self._connection = {**CREDENTIALS, "region": "us-east-2", "endpoint_url": endpoint}

    def run(self, state: str = "present", check: bool = False, **options: Any) -> dict[str, Any]:
        """The module's result."""
        printed = StringIO()
        arguments = self._connection | {"secret_id": self.arn, "state": state, "_ansible_check_mode": check, **options}
        with patch_module_args(arguments), redirect_stdout(printed), pytest.raises(SystemExit):
            shared_secret.main()
        result: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
        return result

    def labels(self) -> dict[str, set[str]]:
        """Labels by the fingerprint of their version's value."""
        stages = self.client.describe_secret(SecretId=self.arn).get("VersionIdsToStages", {})
        return {self.mark(VersionId=version): set(labels) for version, labels in stages.items() if labels}

    def mark(self, **which: str) -> str:
        """Fingerprint of a version."""
        found = json.loads(self.client.get_secret_value(SecretId=self.arn, **which)["SecretString"])["secret"]
        return shared_secret.fingerprint(found)


@pytest.fixture(name="secret")
def _secret(endpoint: str, aws: Aws, request: pytest.FixtureRequest) -> Secret:
    return Secret(endpoint, aws("secretsmanager"), f"{request.node.name}-{time.monotonic_ns()}")


def test_a_value_is_made_once_and_kept_to_itself(secret: Secret) -> None:
    foreseen = secret.run(check=True)
    assert foreseen["changed"]
    assert secret.labels() == {}
    made = secret.run()
    assert made["changed"]
    assert secret.labels() == {made["fingerprints"]["current"]: {"AWSCURRENT"}}
    again = secret.run()
    assert not again["changed"]
    assert again["fingerprints"] == made["fingerprints"]
    assert "values" not in again
    value = secret.run(with_values=True)["values"]["current"]
    assert len(value) == 64
    assert value not in json.dumps(again)


def test_a_rotation_step_by_step_each_twice(secret: Secret) -> None:
    old = secret.run()["fingerprints"]["current"]
    foreseen = secret.run("staged", check=True)
    assert foreseen["changed"]
    assert set(foreseen["fingerprints"]) == {"current", "next"}
    assert set(secret.labels()) == {old}

    staged = secret.run("staged")
    new = staged["fingerprints"]["next"]
    assert (staged["changed"], secret.run("staged")["changed"]) == (True, False)
    assert secret.labels() == {old: {"AWSCURRENT"}, new: {"AWSPENDING"}}
    assert secret.run()["fingerprints"] == {"current": old, "next": new}

    foreseen = secret.run("promoted", check=True, fingerprint=new)
    assert foreseen["fingerprints"] == {"current": new, "previous": old}
    assert secret.labels()[old] == {"AWSCURRENT"}
    promoted = secret.run("promoted", fingerprint=new)
    assert promoted["fingerprints"] == {"current": new, "previous": old}
    assert secret.mark() == new
    assert (promoted["changed"], secret.run("promoted", fingerprint=new)["changed"]) == (True, False)
    assert secret.labels() == {new: {"AWSCURRENT"}, old: {"AWSPREVIOUS"}}

    foreseen = secret.run("dropped", check=True, fingerprint=old)
    assert foreseen["fingerprints"] == {"current": new, "dropped": old}
    dropped = secret.run("dropped", fingerprint=old)
    assert dropped["fingerprints"] == {"current": new, "dropped": old}
    assert (dropped["changed"], secret.run("dropped", fingerprint=old)["changed"]) == (True, False)
    assert secret.labels() == {new: {"AWSCURRENT"}, old: {"DROPPED"}}

    assert secret.run("retired", check=True, fingerprint=old)["fingerprints"] == {"current": new}
    retired = secret.run("retired", fingerprint=old)
    assert (retired["changed"], secret.run("retired", fingerprint=old)["changed"]) == (True, False)
    assert secret.labels() == {new: {"AWSCURRENT"}}
    assert secret.run()["fingerprints"] == {"current": new}


def test_a_promotion_broken_off_between_its_two_labels_is_ended(secret: Secret) -> None:
    secret.run()
    new = secret.run("staged")["fingerprints"]["next"]
    stages = secret.client.describe_secret(SecretId=secret.arn)["VersionIdsToStages"]
    by_label = {labels[0]: version for version, labels in stages.items()}
    secret.client.update_secret_version_stage(
        SecretId=secret.arn,
        VersionStage="AWSCURRENT",
        MoveToVersionId=by_label["AWSPENDING"],
        RemoveFromVersionId=by_label["AWSCURRENT"],
    )
    assert "next" not in secret.run()["fingerprints"]
    assert secret.run("promoted", fingerprint=new)["changed"]
    assert secret.labels()[new] == {"AWSCURRENT"}
    assert not secret.run("promoted", fingerprint=new)["changed"]


def test_a_drop_broken_off_between_its_two_labels_is_ended(secret: Secret) -> None:
    old = secret.run()["fingerprints"]["current"]
    new = secret.run("promoted", fingerprint=secret.run("staged")["fingerprints"]["next"])["fingerprints"]["current"]
    stages = secret.client.describe_secret(SecretId=secret.arn)["VersionIdsToStages"]
    previous = next(version for version, labels in stages.items() if "AWSPREVIOUS" in labels)
    secret.client.update_secret_version_stage(SecretId=secret.arn, VersionStage="DROPPED", MoveToVersionId=previous)
    assert secret.run()["fingerprints"] == {"current": new, "previous": old}
    assert secret.run("dropped", fingerprint=old)["fingerprints"] == {"current": new, "dropped": old}
    assert secret.labels() == {new: {"AWSCURRENT"}, old: {"DROPPED"}}


def test_one_is_dropped_while_an_earlier_one_still_is(secret: Secret) -> None:
    for _ in range(2):
        old = secret.run()["fingerprints"]["current"]
        secret.run("promoted", fingerprint=secret.run("staged")["fingerprints"]["next"])
        assert secret.run("dropped", fingerprint=old)["fingerprints"]["dropped"] == old
    assert len(secret.labels()) == 2


def test_what_somebody_else_rotates_is_not_promoted(secret: Secret) -> None:
    secret.run()
    new = secret.run("staged")["fingerprints"]["next"]
    other = json.dumps({"secret": "f" * 64})
    secret.client.put_secret_value(SecretId=secret.arn, SecretString=other, VersionStages=["AWSPENDING"])
    refused = secret.run("promoted", fingerprint=new)
    assert refused["failed"]
    assert "another run or person" in refused["msg"]
    assert "f" * 64 not in json.dumps(refused)


def test_a_next_secret_that_was_given_up_is_taken_up_again(secret: Secret) -> None:
    secret.run()
    new = secret.run("staged")["fingerprints"]["next"]
    pending = next(
        version
        for version, labels in secret.client.describe_secret(SecretId=secret.arn)["VersionIdsToStages"].items()
        if "AWSPENDING" in labels
    )
    secret.client.update_secret_version_stage(
        SecretId=secret.arn, VersionStage="AWSPENDING", RemoveFromVersionId=pending
    )
    assert "next" not in secret.run()["fingerprints"]
    assert secret.run("staged")["fingerprints"]["next"] == new


def test_the_time_since_the_promotion_is_returned(secret: Secret) -> None:
    secret.run()
    new = secret.run("staged")["fingerprints"]["next"]
    time.sleep(2.1)  # AWS's dates are in seconds here
    assert secret.run()["unchanged_for"] >= 1
    assert secret.run("promoted", fingerprint=new)["unchanged_for"] < 1.5


@pytest.mark.parametrize("text", ["plain", "{}", '{"secret": 1}', '{"secret": "short"}', "[1]"])
def test_a_value_of_another_kind_is_refused_with_the_expected_one(secret: Secret, text: str) -> None:
    secret.client.put_secret_value(SecretId=secret.arn, SecretString=text)
    refused = secret.run()
    assert refused["failed"]
    assert "expected the JSON object" in refused["msg"]


def test_a_previous_value_of_another_kind_is_no_concern(secret: Secret) -> None:
    secret.client.put_secret_value(SecretId=secret.arn, SecretString="adopted")
    secret.client.put_secret_value(SecretId=secret.arn, SecretString=json.dumps({"secret": "e" * 64}))
    assert set(secret.run()["fingerprints"]) == {"current"}
