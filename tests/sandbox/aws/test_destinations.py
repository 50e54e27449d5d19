"""Topic rule destinations, seen by a foreign client and by the endpoint that is to be confirmed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.emulator import ACCOUNT, Emulator, Endpoint, running, serving
from tests.support.certificates import Authority
from tests.support.waiting import until


def create(iot: Any, url: str) -> str:
    configuration = {"httpUrlConfiguration": {"confirmationUrl": url}}
    return str(iot.create_topic_rule_destination(destinationConfiguration=configuration)["topicRuleDestination"]["arn"])


def get(iot: Any, arn: str) -> dict[str, Any]:
    return dict(iot.get_topic_rule_destination(arn=arn)["topicRuleDestination"])


def reached(iot: Any, arn: str, status: str) -> dict[str, Any]:
    found: dict[str, Any] = until(lambda: (d := get(iot, arn))["status"] == status and d)
    return found


def refused(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return str(error.value.response["Error"]["Code"])


@pytest.fixture(name="iot")
def _iot(aws: Emulator) -> Any:
    return aws.client("iot")


def test_challenge_has_awss_form(iot: Any, endpoint: Endpoint) -> None:
    arn = create(iot, f"{endpoint.url}/ingest")
    call = until(lambda: endpoint.calls)[0]
    token = call.json["confirmationToken"]
    assert (call.method, call.path) == ("POST", f"/ingest/?confirmationToken={token}")
    assert call.headers["x-amz-rules-engine-message-type"] == "DestinationConfirmation"
    assert call.headers["x-amz-rules-engine-destination-arn"] == arn
    assert call.headers["content-type"] == "application/json"
    assert set(call.json) == {"arn", "confirmationToken", "enableUrl", "messageType"}
    assert call.json["arn"] == arn
    assert call.json["messageType"] == "DestinationConfirmation"
    assert call.json["enableUrl"].endswith(f"/confirmdestination/{token}")
    assert arn.startswith(f"arn:aws:iot:us-east-2:{ACCOUNT}:ruledestination/http/")


def test_challenge_as_the_guide_prints_it(tmp_path: Path, aws_authority: Authority, endpoint: Endpoint) -> None:
    """https://docs.aws.amazon.com/iot/latest/developerguide/http-action-destination.html"""
    with running(tmp_path, aws_authority, IOT_QUOTED_ARN="true") as aws:
        arn = create(aws.client("iot"), f"{endpoint.url}/ingest")
        call = until(lambda: endpoint.calls)[0]
    assert call.headers["x-amz-rules-engine-destination-arn"] == f'"{arn}"'
    assert call.json["arn"] == arn


def test_answer_200_does_not_confirm_but_the_call_does(iot: Any, endpoint: Endpoint) -> None:
    arn = create(iot, f"{endpoint.url}/ingest")
    call = until(lambda: endpoint.calls)[0]
    assert get(iot, arn)["status"] == "IN_PROGRESS"
    iot.confirm_topic_rule_destination(confirmationToken=call.json["confirmationToken"])
    found = get(iot, arn)
    assert found["status"] == "ENABLED"
    assert "statusReason" not in found
    assert found["httpUrlProperties"] == {"confirmationUrl": f"{endpoint.url}/ingest"}


def test_unsigned_get_of_enable_url_confirms(aws: Emulator, iot: Any, endpoint: Endpoint) -> None:
    arn = create(iot, f"{endpoint.url}/")
    call = until(lambda: endpoint.calls)[0]
    assert call.path.startswith("/?confirmationToken=")
    assert aws.get("/confirmdestination/forged")[0] == 400
    assert get(iot, arn)["status"] == "IN_PROGRESS"
    assert call.json["enableUrl"].startswith(aws.url)
    assert aws.get(call.json["enableUrl"].removeprefix(aws.url))[0] == 200
    assert get(iot, arn)["status"] == "ENABLED"


def test_failure_is_named_and_sent_again_with_a_new_token(iot: Any, endpoint: Endpoint) -> None:
    endpoint.answer = lambda call: (503, {})
    arn = create(iot, f"{endpoint.url}/ingest")
    found = reached(iot, arn, "ERROR")
    assert "503" in found["statusReason"]
    assert refused(iot.update_topic_rule_destination, arn=arn, status="ENABLED") == "InvalidRequestException"
    endpoint.answer = lambda call: (200, {})
    iot.update_topic_rule_destination(arn=arn, status="IN_PROGRESS")
    until(lambda: len(endpoint.calls) == 2)
    first, second = (call.json["confirmationToken"] for call in endpoint.calls)
    assert first != second
    assert refused(iot.confirm_topic_rule_destination, confirmationToken=first) == "InvalidRequestException"
    iot.confirm_topic_rule_destination(confirmationToken=second)
    assert get(iot, arn)["status"] == "ENABLED"


def test_confirmation_during_a_failing_challenge_stands(iot: Any, endpoint: Endpoint) -> None:
    def confirm_then_fail(call: Any) -> tuple[int, Any]:
        iot.confirm_topic_rule_destination(confirmationToken=call.json["confirmationToken"])
        return 500, {}

    endpoint.answer = confirm_then_fail
    arn = create(iot, f"{endpoint.url}/ingest")
    reached(iot, arn, "ENABLED")


def test_certificate_of_a_strange_authority_is_refused(iot: Any, tmp_path: Path) -> None:
    with serving(Authority(tmp_path)) as strange:
        found = reached(iot, create(iot, f"{strange.url}/ingest"), "ERROR")
        assert "certificate verify failed" in found["statusReason"]
        assert not strange.calls


def test_only_ipv4_is_used(iot: Any, aws_authority: Authority) -> None:
    try:
        with serving(aws_authority, "::1") as endpoint:
            reached(iot, create(iot, f"{endpoint.url}/ingest"), "ERROR")
            assert not endpoint.calls
    except OSError:
        pytest.skip("this machine has no IPv6")


def test_token_expires(tmp_path: Path, aws_authority: Authority, endpoint: Endpoint) -> None:
    with running(tmp_path, aws_authority, IOT_TOKEN_LIFETIME="1") as short:
        iot = short.client("iot")
        arn = create(iot, f"{endpoint.url}/ingest")
        token = until(lambda: endpoint.calls)[0].json["confirmationToken"]
        assert "timed out" in reached(iot, arn, "ERROR")["statusReason"]
        assert refused(iot.confirm_topic_rule_destination, confirmationToken=token) == "InvalidRequestException"


def test_switching_off_and_on(iot: Any, endpoint: Endpoint) -> None:
    arn = create(iot, f"{endpoint.url}/ingest")
    token = until(lambda: endpoint.calls)[0].json["confirmationToken"]
    assert refused(iot.update_topic_rule_destination, arn=arn, status="DISABLED") == "InvalidRequestException"
    iot.confirm_topic_rule_destination(confirmationToken=token)
    for status in ("DISABLED", "ENABLED"):
        iot.update_topic_rule_destination(arn=arn, status=status)
        assert get(iot, arn)["status"] == status
    for status in ("ERROR", "DELETING"):
        assert refused(iot.update_topic_rule_destination, arn=arn, status=status) == "InvalidRequestException"
    assert len(endpoint.calls) == 1


def test_deletion_takes_a_while(iot: Any, endpoint: Endpoint) -> None:
    url = f"{endpoint.url}/ingest"
    arn = create(iot, url)
    iot.delete_topic_rule_destination(arn=arn)
    assert get(iot, arn)["status"] == "DELETING"
    assert refused(iot.update_topic_rule_destination, arn=arn, status="IN_PROGRESS") == "InvalidRequestException"
    again = create(iot, url)
    assert again != arn
    until(lambda: arn not in [d["arn"] for d in iot.list_topic_rule_destinations()["destinationSummaries"]])
    assert refused(iot.get_topic_rule_destination, arn=arn) == "UnauthorizedException"
    assert get(iot, again)["status"] == "IN_PROGRESS"


@pytest.mark.parametrize("url", ["http://localhost/ingest", "ftp://x", "https://", "ingest", "https://a b/"])
def test_only_https_urls_are_taken(iot: Any, url: str) -> None:
    configuration = {"httpUrlConfiguration": {"confirmationUrl": url}}
    code = refused(iot.create_topic_rule_destination, destinationConfiguration=configuration)
    assert code == "InvalidRequestException"


def test_two_creations_at_once_make_one(aws: Emulator, endpoint: Endpoint) -> None:
    def attempt(number: int) -> str:
        try:
            return create(aws.client("iot"), f"{endpoint.url}/once")
        except ClientError as error:
            return str(error.response["Error"]["Code"])

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attempt, range(4)))
    assert outcomes.count("ResourceAlreadyExistsException") == 3
    until(lambda: endpoint.calls)
    assert len(endpoint.calls) == 1


def test_second_destination_for_a_url_can_be_allowed(
    tmp_path: Path, aws_authority: Authority, endpoint: Endpoint
) -> None:
    with running(tmp_path, aws_authority, IOT_UNIQUE_DESTINATIONS="false") as lenient:
        iot = lenient.client("iot")
        assert create(iot, f"{endpoint.url}/twice") != create(iot, f"{endpoint.url}/twice")
        until(lambda: len(endpoint.calls) == 2)


def test_refusal_names_the_destination_there_is(iot: Any, endpoint: Endpoint) -> None:
    arn = create(iot, f"{endpoint.url}/named")
    with pytest.raises(ClientError) as error:
        create(iot, f"{endpoint.url}/named")
    assert error.value.response["resourceArn"] == arn  # type: ignore[typeddict-item]


def test_list_is_paged(iot: Any, endpoint: Endpoint) -> None:
    made = {create(iot, f"{endpoint.url}/{number}") for number in range(3)}
    pages = list(iot.get_paginator("list_topic_rule_destinations").paginate(PaginationConfig={"PageSize": 2}))
    assert len(pages) > 1
    assert all(len(page["destinationSummaries"]) <= 2 for page in pages)
    listed = {d["arn"]: d for page in pages for d in page["destinationSummaries"]}
    assert made <= set(listed)
    assert all(listed[arn]["httpUrlSummary"]["confirmationUrl"].startswith(endpoint.url) for arn in made)
