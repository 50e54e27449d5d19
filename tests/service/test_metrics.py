"""/metrics: valid in both formats, counted right, and discreet."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from iot_receiver.openmetrics import wants_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.service.faults import Faults, error
from tests.service.harness import Make, Receiver

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)

PARSERS: dict[str, Callable[[str], Any]] = {"": parse_text, PROMETHEUS: parse_openmetrics}


def samples(families: Any) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


async def scrape(receiver: Receiver, accept: str = "", **headers: str) -> tuple[str, str]:
    given = {"Accept": accept, **headers} if accept else headers
    response = await receiver.client.get("/metrics", headers=given)
    assert response.status == 200
    return response.headers["Content-Type"], await response.text()


async def test_both_formats_say_the_same(receiver: Receiver) -> None:
    await receiver.send([{"deviceId": "d", "temp": 1}, {"deviceId": "e", "temp": 2}])
    await receiver.send({"deviceId": "d"})
    await receiver.client.post("/ingest")
    text_type, text = await scrape(receiver)
    openmetrics_type, openmetrics = await scrape(receiver, PROMETHEUS)
    assert text_type == "text/plain; version=0.0.4; charset=utf-8"
    assert openmetrics_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert openmetrics.endswith("# EOF\n")
    ours, theirs = samples(PARSERS[""](text)), samples(PARSERS[PROMETHEUS](openmetrics))
    assert ours == theirs
    assert ours["iot_receiver_messages_total", "outcome=stored"] == 2
    assert ours["iot_receiver_messages_total", "outcome=rejected"] == 1
    assert [ours["iot_receiver_requests_total", f"status={status}"] for status in (200, 401, 422)] == [1, 1, 1]
    assert ours["iot_receiver_request_seconds_count",] == 3
    assert ours["iot_receiver_batch_items_bucket", "le=2.0"] == 1
    assert ours["iot_receiver_batch_items_sum",] == 2
    assert ours["iot_receiver_write_seconds_bucket", "le=+Inf"] == 1
    assert ours["iot_receiver_ready",] == 1
    assert all(math.isfinite(value) for value in ours.values())


async def test_any_label_is_valid_in_both_formats(make_receiver: Make, secrets_dir: Path) -> None:
    strange = 'cur"x\\y\nz'
    (secrets_dir / strange).write_text("another")
    (secrets_dir / os.fsdecode(b"\xff")).write_text("a third")
    receiver = await make_receiver()
    found = [samples(PARSERS[accept]((await scrape(receiver, accept))[1])) for accept in ("", PROMETHEUS)]
    assert found[0] == found[1]
    named = {labels[-1] for labels in found[0] if labels[0] == "iot_receiver_secret_info"}
    assert named == {"secret=current", f"secret={strange}", "secret=\ufffd"}


async def test_errors_of_dynamodb_have_names_or_none(faults: Faults, make_receiver: Make) -> None:
    receiver = await make_receiver()
    faults.script = [error(code) for code in ('a"b', "a\nb", "a\\b", "x" * 65, "", "InternalFailure")]
    for _ in range(6):
        await receiver.send({"deviceId": "d", "temp": 1})
    found = samples(PARSERS[""]((await scrape(receiver))[1]))
    codes = {labels[1] for labels in found if labels[0] == "iot_receiver_write_failures_total"}
    assert codes == {"error=Http400", "error=InternalFailure"}


async def test_through_the_load_balancer_only_health(make_receiver: Make) -> None:
    receiver = await make_receiver()
    for header in ("X-Forwarded-For", "Forwarded"):
        for accept in ("", PROMETHEUS):
            _, text = await scrape(receiver, accept, **{header: "for=203.0.113.7"})
            assert set(samples(PARSERS[accept](text))) == {("iot_receiver_up",), ("iot_receiver_ready",)}
    public = await make_receiver(metrics_public=True)
    _, text = await scrape(public, **{"X-Forwarded-For": "203.0.113.7"})
    assert "iot_receiver_messages_total" in text


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ([], False),
        (["*/*"], False),
        (["text/plain"], False),
        ([PROMETHEUS], True),
        (["application/openmetrics-text"], True),
        (["application/openmetrics-text;version=1.0.0"], True),
        (['application/openmetrics-text;version="1.0.0"'], True),
        (["application/openmetrics-text; version=2.0.0, text/plain"], False),
        (["application/openmetrics-text;q=0"], False),
        (["application/openmetrics-text;q=0.1", "text/plain;q=0.9"], False),
        (["application/openmetrics-text;q=x,,;;,="], False),
    ],
)
def test_what_is_accepted(accept: list[str], wanted: bool) -> None:
    assert wants_openmetrics(accept) is wanted
