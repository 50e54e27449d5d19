"""Destinations against an emulated account and an HTTPS endpoint that does, or does not, confirm."""

import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.collection.faults import Answer, Fault, Proxy
from tests.collection.helpers import Aws, Run, client, prediction_holds
from tests.collection.receivers import SOON, Receiver

MODULE = "iot_topic_rule_destination"


def status(aws: Aws, url: str) -> list[str]:
    """Statuses of the destinations of a URL."""
    held = aws("iot").list_topic_rule_destinations()["destinationSummaries"]
    return [one["status"] for one in held if one["httpUrlSummary"]["confirmationUrl"] == url]


def stored(aws: Aws, url: str) -> dict[str, Any]:
    """The one destination of a URL as boto3 returns it, in the module's spelling."""
    iot = aws("iot")
    held = iot.list_topic_rule_destinations()["destinationSummaries"]
    (arn,) = [one["arn"] for one in held if one["httpUrlSummary"]["confirmationUrl"] == url]
    seen = iot.get_topic_rule_destination(arn=arn)["topicRuleDestination"]
    return {
        "arn": seen["arn"],
        "confirmation_url": seen["httpUrlProperties"]["confirmationUrl"],
        "status": seen["status"],
        "status_reason": seen.get("statusReason", ""),
    }


def test_from_nothing_to_enabled_to_disabled_and_back_to_nothing(
    run: Run, aws: Aws, receiver: Receiver
) -> None:
    url = receiver.url
    made = prediction_holds(run, MODULE, "destination", confirmation_url=url, **SOON)
    assert made["destination"] == stored(aws, url)
    assert made["destination"]["status"] == "ENABLED"
    assert receiver.paths == [f"{urlsplit(url).path}/"]
    for state, expected in (("disabled", ["DISABLED"]), ("enabled", ["ENABLED"])):
        assert prediction_holds(run, MODULE, "destination", confirmation_url=url, state=state, **SOON)[
            "changed"
        ]
        assert status(aws, url) == expected
    assert len(receiver.challenges) == 1
    assert prediction_holds(run, MODULE, "destination", confirmation_url=url, state="absent", **SOON)[
        "changed"
    ]
    assert status(aws, url) == []


def test_a_lost_challenge_is_sent_again(run: Run, aws: Aws, receiver: Receiver) -> None:
    receiver.silent_for = 1
    made = run(MODULE, confirmation_url=receiver.url, resend_after=2, **SOON)
    assert made["destination"]["status"] == "ENABLED"
    assert len(receiver.challenges) == 2
    assert status(aws, receiver.url) == ["ENABLED"]


def test_one_in_progress_from_an_earlier_run_is_brought_to_its_end(
    run: Run, aws: Aws, receiver: Receiver
) -> None:
    receiver.silent_for = 1
    left = run(MODULE, confirmation_url=receiver.url, wait=False)
    assert left["destination"]["status"] == "IN_PROGRESS"
    made = run(MODULE, confirmation_url=receiver.url, resend_after=2, **SOON)
    assert made["destination"] == left["destination"] | {"status": "ENABLED"}
    assert made["changed"]  # the confirmation, although nothing was written for it
    assert [seen["status"] for seen in made["progress"]] == ["IN_PROGRESS", "ENABLED"]


def test_an_error_is_answered_with_a_new_challenge(run: Run, aws: Aws, receiver: Receiver) -> None:
    receiver.status = 503
    failed = run(MODULE, confirmation_url=receiver.url, wait_timeout=3, wait_delay=1)
    assert failed["failed"]
    assert "503" in failed["msg"]
    assert "confirmationToken" in failed["msg"]
    assert failed["destination"]["status"] == "ERROR"
    assert len(receiver.challenges) == 1
    receiver.status = 200  # and the next run does not wait before it asks for a new challenge
    assert run(MODULE, confirmation_url=receiver.url, **SOON)["destination"]["status"] == "ENABLED"


def test_one_that_is_being_deleted_is_made_anew(run: Run, aws: Aws, receiver: Receiver) -> None:
    first = run(MODULE, confirmation_url=receiver.url, **SOON)["destination"]
    aws("iot").delete_topic_rule_destination(arn=first["arn"])
    assert status(aws, receiver.url) == ["DELETING"]
    second = run(MODULE, confirmation_url=receiver.url, **SOON)["destination"]
    assert second["status"] == "ENABLED"
    assert second["arn"] != first["arn"]


def test_each_status_is_brought_to_enabled_as_foreseen(run: Run, aws: Aws, receiver: Receiver) -> None:
    iot = aws("iot")

    def left_as(status: str) -> str:
        """A destination in a status, as an earlier run may have left it."""
        url = f"{receiver.url}/{status}"
        receiver.status, receiver.silent_for = (503 if status == "ERROR" else 200), len(receiver.challenges)
        receiver.silent_for += status == "IN_PROGRESS"
        arn = run(MODULE, confirmation_url=url, wait=False)["destination"]["arn"]
        while (now := iot.get_topic_rule_destination(arn=arn)["topicRuleDestination"]["status"]) != status:
            if now == "ENABLED" and status == "DISABLED":
                iot.update_topic_rule_destination(arn=arn, status="DISABLED")
            elif now == "ENABLED" and status == "DELETING":
                iot.delete_topic_rule_destination(arn=arn)
        receiver.status = 200
        return url

    for left in ("IN_PROGRESS", "ERROR", "DISABLED", "DELETING"):
        url = left_as(left)
        made = prediction_holds(run, MODULE, "destination", confirmation_url=url, resend_after=2, **SOON)
        assert made["changed"], left
        assert made["diff"]["before"]["status"] == made["progress"][0]["status"] == left
        assert made["destination"] == stored(aws, url), left
        assert made["destination"]["status"] == "ENABLED", left


@pytest.mark.parametrize("state", ["enabled", "disabled", "absent"])
def test_a_wait_that_is_not_wanted_is_foreseen(run: Run, aws: Aws, receiver: Receiver, state: str) -> None:
    receiver.silent_for = 99
    url = f"{receiver.url}/{state}"
    for resend_after in (99, 0):  # from nothing, then with the first challenge unanswered
        options = {"confirmation_url": url, "state": state, "wait": False, "resend_after": resend_after}
        predicted, real = run(MODULE, check=True, **options), run(MODULE, **options)
        assert predicted["changed"] is real["changed"] is (state != "absent")
        assert predicted["destination"].get("status") == real["destination"].get("status")
        assert real["destination"].get("status") == (None if state == "absent" else "IN_PROGRESS")
    while state != "absent" and len(receiver.challenges) < 2:
        pass


def test_one_that_is_being_deleted_is_not_left_at_that(run: Run, receiver: Receiver, proxy: Proxy) -> None:
    options = {"confirmation_url": receiver.url, "endpoint_url": proxy.url}
    arn = run(MODULE, **options, **SOON)["destination"]["arn"]
    iot = client(proxy.url)
    iot.delete_topic_rule_destination(arn=arn)
    iot.list_topic_rule_destinations()
    proxy.lag("GET /destinations$", times=3)  # so that it is being deleted for as long as this takes
    for check in (True, False):
        refused = run(MODULE, **options, wait=False, check=check)
        assert "DELETING" in refused["msg"]
        assert "wait: true" in refused["msg"]
    for check in (True, False):
        assert not run(MODULE, **options, state="absent", check=check)["changed"]


def test_one_that_aws_deletes_slowly_does_not_stop_a_removal(run: Run, receiver: Receiver, proxy: Proxy) -> None:
    options = {"confirmation_url": receiver.url, "endpoint_url": proxy.url, "wait_timeout": 0}
    arn = run(MODULE, **{**options, "wait": False})["destination"]["arn"]
    iot = client(proxy.url)
    iot.delete_topic_rule_destination(arn=arn)
    iot.list_topic_rule_destinations()
    proxy.lag("GET /destinations$", times=20)
    left = run(MODULE, **options, state="absent")
    assert (left["changed"], left.get("failed", False)) == (False, False)
    assert f"AWS is still deleting destination {receiver.url}." in str(left["warnings"])
    refused = run(MODULE, **options)
    assert f"Destination {receiver.url} is still DELETING" in refused["msg"]


def test_a_challenge_lost_long_ago_is_sent_again_at_once(run: Run, aws: Aws, receiver: Receiver) -> None:
    receiver.silent_for = 1
    run(MODULE, confirmation_url=receiver.url, wait=False)
    time.sleep(3.1)  # AWS reports its time in whole seconds
    made = run(MODULE, confirmation_url=receiver.url, resend_after=2, wait_timeout=1, wait_delay=1)
    assert made["destination"]["status"] == "ENABLED"
    assert len(receiver.challenges) == 2


def test_disabled_is_reached_by_way_of_a_confirmation(run: Run, aws: Aws, receiver: Receiver) -> None:
    url = f"{receiver.url}/off"
    made = prediction_holds(run, MODULE, "destination", confirmation_url=url, state="disabled", **SOON)
    assert made["destination"] == stored(aws, url)
    assert made["destination"]["status"] == "DISABLED"
    by_arn = prediction_holds(run, MODULE, "destination", arn=made["destination"]["arn"], **SOON)
    assert by_arn["destination"]["status"] == "ENABLED" == stored(aws, url)["status"]
    assert prediction_holds(run, MODULE, "destination", arn=made["destination"]["arn"], state="absent")["changed"]


def test_a_given_token_confirms(run: Run, receiver: Receiver) -> None:
    receiver.silent_for = 99
    run(MODULE, confirmation_url=receiver.url, wait=False)
    while not receiver.challenges:
        pass
    token = receiver.challenges[-1]["confirmationToken"]
    made = prediction_holds(
        run, MODULE, "destination", confirmation_url=receiver.url, confirmation_token=token, **SOON
    )
    assert made["destination"]["status"] == "ENABLED"


def test_a_stale_token_is_refused_and_a_needless_one_left_aside(run: Run, receiver: Receiver) -> None:
    receiver.silent_for = 99
    run(MODULE, confirmation_url=receiver.url, wait=False)
    refused = run(MODULE, confirmation_url=receiver.url, confirmation_token="stale", **SOON)
    assert "confirm_topic_rule_destination failed. Each challenge has a token of its own" in refused["msg"]
    receiver.status, receiver.silent_for = 503, 0
    run(MODULE, confirmation_url=receiver.url + "/b", wait_timeout=1, wait_delay=1)
    receiver.status = 200
    made = run(MODULE, confirmation_url=receiver.url + "/b", confirmation_token="stale", **SOON)
    assert made["destination"]["status"] == "ENABLED"
    assert "confirmation_token is not used" in str(made["warnings"])


def test_one_that_is_there_is_not_made_again(run: Run, aws: Aws, receiver: Receiver) -> None:
    receiver.silent_for = 99
    aws("iot").create_topic_rule_destination(
        destinationConfiguration={"httpUrlConfiguration": {"confirmationUrl": receiver.url}}
    )
    made = run(MODULE, confirmation_url=receiver.url, wait=False)
    assert not made["changed"]
    assert len(status(aws, receiver.url)) == 1


def test_one_that_another_run_makes_meanwhile_is_taken(run: Run, aws: Aws, receiver: Receiver, proxy: Proxy) -> None:
    wanted = {"httpUrlConfiguration": {"confirmationUrl": receiver.url}}
    run(MODULE, confirmation_url=f"{receiver.url}/other", endpoint_url=proxy.url, **SOON)
    proxy.before(
        "POST /destinations$", lambda: aws("iot").create_topic_rule_destination(destinationConfiguration=wanted)
    )
    proxy.lag("GET /destinations$", times=3)  # and the list does not show it for a while
    made = run(MODULE, confirmation_url=receiver.url, endpoint_url=proxy.url, **SOON)
    assert made["destination"] == stored(aws, receiver.url)
    assert made["destination"]["status"] == "ENABLED"
    assert proxy.count("POST /destinations$") == 2
    assert status(aws, receiver.url) == ["ENABLED"]


def test_one_that_no_read_shows_yet_is_not_made_again(run: Run, aws: Aws, receiver: Receiver, proxy: Proxy) -> None:
    run(MODULE, confirmation_url=f"{receiver.url}/other", endpoint_url=proxy.url, **SOON)
    proxy.lag("GET /destinations$", times=4)
    proxy.refuse("GET /destinations/", "UnauthorizedException", times=2, status=401)
    made = run(MODULE, confirmation_url=receiver.url, endpoint_url=proxy.url, **SOON)
    assert made["destination"] == stored(aws, receiver.url)
    assert made["destination"]["status"] == "ENABLED"
    assert proxy.count("POST /destinations$") == 2
    hasty = run(MODULE, confirmation_url=f"{receiver.url}/hasty", wait=False)
    assert hasty["destination"]["arn"]


def test_conflicts_and_lost_answers(run: Run, aws: Aws, receiver: Receiver, proxy: Proxy) -> None:
    options = {"confirmation_url": receiver.url, "endpoint_url": proxy.url, **SOON}
    conflict = "ConflictingResourceUpdateException"
    proxy.lose_answer("POST /destinations$", "InternalException")
    assert run(MODULE, **options)["destination"] == stored(aws, receiver.url)
    assert status(aws, receiver.url) == ["ENABLED"]
    proxy.refuse("PATCH /destinations$", conflict, times=2, status=409)
    proxy.refuse("GET /destinations$", "ThrottlingException", times=2, status=429)
    assert run(MODULE, **options, state="disabled")["destination"]["status"] == "DISABLED"
    refusal = "A destination that was never confirmed cannot be enabled"
    proxy.refuse("PATCH /destinations$", "InvalidRequestException", message=refusal)
    assert run(MODULE, **options)["destination"]["status"] == "ENABLED"
    assert len(receiver.challenges) == 2  # so it was asked to confirm anew
    proxy.refuse("DELETE /destinations/", conflict, times=2, status=409)
    assert run(MODULE, **options, state="absent")["changed"]
    assert status(aws, receiver.url) == []


def test_a_confirmed_one_that_waits_to_be_enabled_is_enabled(
    run: Run, aws: Aws, receiver: Receiver, proxy: Proxy
) -> None:
    """What AWS's guide describes, and the emulated account does not do: so that call is answered in its place."""
    receiver.silent_for = 1
    run(MODULE, confirmation_url=receiver.url, wait=False)
    while not receiver.challenges:
        pass
    token = receiver.challenges[0]["confirmationToken"]
    confirmed = Answer(200, [("Content-Type", "application/json")], b"{}")

    def enabled(_: object) -> Answer:
        aws("iot").confirm_topic_rule_destination(confirmationToken=token)
        return confirmed

    proxy.faults.append(Fault("PATCH /destinations$", enabled))
    made = run(MODULE, confirmation_url=receiver.url, endpoint_url=proxy.url, resend_after=0, **SOON)
    assert made["destination"] == stored(aws, receiver.url)
    assert made["destination"]["status"] == "ENABLED"
    assert len(receiver.challenges) == 1


def test_denials_name_the_permission(run: Run, receiver: Receiver, proxy: Proxy) -> None:
    proxy.refuse("POST /destinations$", "UnauthorizedException", times=9, status=401)
    refused = run(MODULE, confirmation_url=receiver.url, endpoint_url=proxy.url)
    assert "create_topic_rule_destination" in refused["msg"]
    assert "iot:CreateTopicRuleDestination" in refused["msg"]
    run(MODULE, confirmation_url=receiver.url, **SOON)
    proxy.refuse("DELETE /destinations/", "UnauthorizedException", times=9, status=401)
    refused = run(MODULE, confirmation_url=receiver.url, state="absent", endpoint_url=proxy.url)
    assert "iot:DeleteTopicRuleDestination" in refused["msg"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"confirmation_url": "http://plain.example.com/ingest"}, "must be an https URL"),
        ({"confirmation_url": "nonsense"}, "must be an https URL"),
        ({"confirmation_url": ""}, "must be an https URL"),
        ({"confirmation_url": "https://a.example.com/", "wait_delay": -2}, "wait_delay (-2) must be 1 or more"),
        ({"confirmation_url": "https://a.example.com/", "resend_after": -1}, "resend_after (-1) must be 0 or more"),
        ({"confirmation_url": "https://a.example.com/", "arn": "arn:aws:iot:x"}, "mutually exclusive"),
    ],
)
def test_faulty_options_are_refused_in_both_modes(run: Run, options: dict[str, Any], words: str) -> None:
    for check in (True, False):
        for state in ("enabled", "absent"):
            assert words in run(MODULE, **options, state=state, check=check)["msg"]


def test_a_destination_by_arn_cannot_be_created(run: Run) -> None:
    arn = "arn:aws:iot:us-east-2:123456789012:ruledestination/http/00000000-0000-0000-0000-000000000000"
    for check in (True, False):
        assert "confirmation_url" in run(MODULE, arn=arn, check=check)["msg"]
    assert not run(MODULE, arn=arn, state="absent")["changed"]
