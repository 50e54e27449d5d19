"""Several runs at the same time, each a process of its own, leave what one run would."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from tests.collection.conftest import CREDENTIALS, emulated
from tests.collection.faults import Answer, Fault, proxied
from tests.collection.helpers import Aws, Run, client, document, imported, pair
from tests.collection.receivers import SOON, Receiver, receiving

RUNS = 4


def result_of(module: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run a module in this process; returns its result."""
    printed = StringIO()
    arguments = {**CREDENTIALS, "region": "us-east-2", **options}
    with patch_module_args(arguments), redirect_stdout(printed), pytest.raises(SystemExit):
        imported(module).main()
    result: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
    return result


def at_once(module: str, *options: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a module several times at once, with these options."""
    with ProcessPoolExecutor(len(options), mp_context=get_context("fork")) as pool:
        return list(pool.map(result_of, [module] * len(options), options))


@pytest.fixture(name="lenient", scope="module")
def _lenient(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an emulated AWS that refuses no second destination of a URL."""
    with emulated(authority, tmp_path_factory.mktemp("lenient"), IOT_UNIQUE_DESTINATIONS="false") as url:
        yield url


@pytest.mark.parametrize("kind", ["endpoint", "lenient"])
def test_one_destination(request: pytest.FixtureRequest, authority: Path, kind: str) -> None:
    endpoint: str = request.getfixturevalue(kind)
    with receiving(authority, endpoint) as receiver:
        options = {"confirmation_url": receiver.url, "endpoint_url": endpoint, **SOON}
        results = at_once("iot_topic_rule_destination", *[options] * RUNS)
        assert [one.get("msg") for one in results] == [None] * RUNS
        assert {one["destination"]["status"] for one in results} == {"ENABLED"}
        assert len({one["destination"]["arn"] for one in results}) == 1
        assert any(one["changed"] for one in results)
        assert left(receiver, endpoint) == [results[0]["destination"]["arn"]]
        gone = at_once("iot_topic_rule_destination", *[options | {"state": "absent"}] * RUNS)
        assert [one.get("msg") for one in gone] == [None] * RUNS
        assert left(receiver, endpoint) == []


@pytest.mark.parametrize("lag", [0, 4])
def test_the_older_of_two_stays(authority: Path, lenient: str, lag: int) -> None:
    """The other run's comes first, and the list shows it at once or late."""
    with receiving(authority, lenient) as receiver, proxied(lenient) as proxy:
        run_here = {"confirmation_url": receiver.url, "endpoint_url": proxy.url, **SOON}
        before = result_of("iot_topic_rule_destination", run_here | {"state": "absent"})
        assert not before["changed"]
        wanted = {"httpUrlConfiguration": {"confirmationUrl": receiver.url}}
        proxy.before(
            "POST /destinations$",
            lambda: client(lenient).create_topic_rule_destination(destinationConfiguration=wanted),
        )
        if lag:
            proxy.lag("GET /destinations$", times=lag)
        made = result_of("iot_topic_rule_destination", run_here)
        assert len(receiver.challenges) >= 2
        assert proxy.count("DELETE /destinations/") == 1
        assert left(receiver, lenient) == [made["destination"]["arn"]]
        assert made["destination"]["arn"] == min(
            (one["createdAt"], one["arn"])
            for one in client(lenient).list_topic_rule_destinations()["destinationSummaries"]
            if one["httpUrlSummary"]["confirmationUrl"] == receiver.url
        )[1]  # fmt: skip


def test_a_list_that_does_not_show_ours_yet_decides_nothing(authority: Path, lenient: str) -> None:
    """The other run's is the newer one, so that it is the other's to give way, whatever a list shows first."""
    with receiving(authority, lenient) as receiver, proxied(lenient) as proxy:
        made: list[str] = []

        def only_the_other(forward: Callable[[], Answer]) -> Answer:
            if not made:
                wanted = {"httpUrlConfiguration": {"confirmationUrl": receiver.url}}
                answer = client(lenient).create_topic_rule_destination(destinationConfiguration=wanted)
                made.append(answer["topicRuleDestination"]["arn"])
            answer = forward()
            listed = json.loads(answer.body)
            listed["destinationSummaries"] = [
                one for one in listed["destinationSummaries"] if one["arn"] in made
            ]
            return Answer(answer.status, answer.headers, json.dumps(listed).encode())

        proxy.faults += [Fault("GET /destinations$", lambda forward: forward()),  # before ours is made
                         Fault("GET /destinations$", only_the_other, times=3)]  # fmt: skip
        options = {"confirmation_url": receiver.url, "endpoint_url": proxy.url, **SOON}
        result = result_of("iot_topic_rule_destination", options)
        assert result["destination"]["status"] == "ENABLED"
        assert result["destination"]["arn"] not in made
        assert proxy.count("DELETE /destinations/") == 0
        assert made[0] in str(result["warnings"])


def test_one_certificate_for_a_csr(endpoint: str, aws: Aws, run: Run) -> None:
    run("iot_thing", name="certified")
    run("iot_policy", name="certified", document=document("iot:Connect"))
    before = len(aws("iot").list_certificates()["certificates"])
    for _ in range(3):
        csr = pair()[0]
        options = {"thing_name": "certified", "csr": csr, "policies": ["certified"], "endpoint_url": endpoint}
        results = at_once("iot_certificate", *[options] * RUNS)
        assert [one.get("msg") for one in results] == [None] * RUNS
        (number,) = {one["certificate"]["certificate_id"] for one in results}
        (arn,) = aws("iot").list_thing_principals(thingName="certified")["principals"]
        assert arn == results[0]["certificate"]["certificate_arn"]
        assert aws("iot").describe_certificate(certificateId=number)["certificateDescription"]["status"] == "ACTIVE"
        assert len(aws("iot").list_certificates()["certificates"]) == before + 1
        assert run("iot_certificate", thing_name="certified", csr=csr, state="absent")["changed"]


def test_others_of_the_url_are_named_and_all_go_together(authority: Path, lenient: str) -> None:
    with receiving(authority, lenient) as receiver:
        wanted = {"httpUrlConfiguration": {"confirmationUrl": receiver.url}}
        for _ in range(2):
            client(lenient).create_topic_rule_destination(destinationConfiguration=wanted)
        options = {"confirmation_url": receiver.url, "endpoint_url": lenient, **SOON}
        made = result_of("iot_topic_rule_destination", options)
        (other,) = set(left(receiver, lenient)) - {made["destination"]["arn"]}
        assert other in str(made["warnings"])
        assert result_of("iot_topic_rule_destination", options | {"state": "absent"})["changed"]
        assert left(receiver, lenient) == []


def left(receiver: Receiver, endpoint: str) -> list[str]:
    """ARNs of the destinations of the receiver that are not being deleted."""
    held = client(endpoint).list_topic_rule_destinations()["destinationSummaries"]
    return [
        one["arn"]
        for one in held
        if one["httpUrlSummary"]["confirmationUrl"] == receiver.url and one["status"] != "DELETING"
    ]


def test_one_of_everything_else(endpoint: str, aws: Aws, run: Run) -> None:
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("iot_thing", {"name": "together", "attributes": {"a": "1"}}),
        ("iot_policy", {"name": "together", "document": document("iot:Connect"), "tags": {"a": "b"}}),
        ("iot_topic_rule", {"name": "together", "sql": "SELECT * FROM 'a'", "actions": []}),
    ]
    for module, options in wanted:
        results = at_once(module, *[options | {"endpoint_url": endpoint}] * RUNS)
        assert [one.get("msg") for one in results] == [None] * RUNS
        assert not run(module, **options)["changed"]
        gone = at_once(module, *[{"name": "together", "state": "absent", "endpoint_url": endpoint}] * RUNS)
        assert [one.get("msg") for one in gone] == [None] * RUNS
        assert not run(module, name="together", state="absent")["changed"]


def test_policy_versions_of_many_runs(endpoint: str, aws: Aws, run: Run) -> None:
    documents = [document(f"iot:Run{number}") for number in range(RUNS)]
    run("iot_policy", name="crowded", document=document("iot:First"))
    for _ in range(2):
        results = at_once(
            "iot_policy",
            *[{"name": "crowded", "document": one, "wait": False, "endpoint_url": endpoint} for one in documents],
        )
        assert [one.get("msg") for one in results] == [None] * RUNS
    assert json.loads(aws("iot").get_policy(policyName="crowded")["policyDocument"]) in documents
    assert len(aws("iot").list_policy_versions(policyName="crowded")["policyVersions"]) <= 5
