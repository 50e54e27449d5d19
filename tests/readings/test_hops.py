"""The line of health: what the receiver says of itself, and what is made of it."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from iot_readings import hops, keys

from tests.readings.harness import Make, Readings, eventually
from tests.service.harness import Make as MakeReceiver


async def hop(readings: Readings, name: str) -> dict[str, Any]:
    """One hop of the line."""
    [found] = [each for each in (await readings.ask("/v1/health"))["hops"] if each["name"] == name]
    return {key: found[key] for key in ("state", "detail")}


def exposed(stored: int, rejected: int = 0, rule: int = 0, ready: int = 1) -> str:
    """A receiver's /metrics."""
    return (
        f'# TYPE iot_receiver_ready gauge\niot_receiver_ready {ready}\niot_receiver_messages_total{{outcome="stored"}} '
        f'{stored}\niot_receiver_messages_total{{outcome="rejected"}} {rejected}\n'
        f'iot_receiver_dead_letters{{queue="rule"}} {rule}\niot_receiver_dead_letters{{queue="receiver"}} 0\n'
    )


async def test_a_receivers_own_metrics_are_understood(make_readings: Make, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver()
    readings = await make_readings(receiver_metrics_url=str(receiver.client.make_url("/metrics")))
    await eventually(lambda: readings.app[keys.RECEIVER].failing == "")
    assert (await hop(readings, "receiver"))["state"] == "ok"
    assert "stored" in readings.app[keys.RECEIVER].messages


async def test_rates_and_dead_letters(make_readings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hops, "POLL_SECONDS", 3_600)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=exposed(100))

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    async with TestServer(app) as server:
        readings = await make_readings(receiver_metrics_url=str(server.make_url("/metrics")))
        receiver = readings.app[keys.RECEIVER]
        await eventually(lambda: receiver.failing == "")
        assert await hop(readings, "dead letters") == {"state": "ok", "detail": "none waiting"}
        monkeypatch.setattr(hops, "monotonic", lambda: receiver._answered_at + 10)
        receiver._take(exposed(150, rejected=20, rule=3))
        assert await hop(readings, "receiver") == {"state": "warning", "detail": "5.0/s stored, 2.0/s rejected"}
        assert await hop(readings, "dead letters") == {"state": "warning", "detail": "3 not delivered by IoT Core"}
        assert (await readings.ask("/v1/health"))["deadLetters"] == {"rule": 3, "receiver": 0}
        receiver._take(exposed(10))  # started anew: it counts from nothing
        assert await hop(readings, "receiver") == {"state": "ok", "detail": "0.0/s stored"}
        receiver._take(exposed(10, ready=0))
        assert await hop(readings, "receiver") == {"state": "failed", "detail": "not ready"}


async def test_a_receiver_that_does_not_answer_is_failed(make_readings: Make) -> None:
    readings = await make_readings(receiver_metrics_url="http://127.0.0.1:9/metrics")
    await eventually(lambda: readings.app[keys.RECEIVER].failing)
    found = await hop(readings, "receiver")
    assert found == {"state": "failed", "detail": "no answer (ClientConnectorError)"}
    assert (await hop(readings, "dead letters"))["state"] == "unknown"


async def test_without_its_address_it_is_unknown(make_readings: Make) -> None:
    assert (await hop(await make_readings(), "receiver"))["state"] == "unknown"


async def test_why_messages_were_rejected_is_shown_newest_first(
    make_readings: Make, make_receiver: MakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hops, "POLL_SECONDS", 0.1)
    receiver = await make_receiver()
    readings = await make_readings(receiver_metrics_url=str(receiver.client.make_url("/metrics")))
    for message in ({"deviceId": "d1"}, {"deviceId": "<b>", "temp": "x"}):
        assert (await receiver.send(message)).status == 422
    await eventually(lambda: len(readings.app[keys.RECEIVER].rejections) == 2)
    newest, former = (await readings.ask("/v1/health"))["rejections"]
    assert newest["receivedAt"] >= former["receivedAt"]
    assert "temp" in former["reason"]
    for number in range(60):
        readings.app[keys.RECEIVER].add([hops.Rejection(f"2999-01-31T12:00:{number:02d}Z", None, "another pod's")])
    found = (await readings.ask("/v1/health"))["rejections"]
    assert (len(found), found[0]["receivedAt"]) == (50, "2999-01-31T12:00:59Z")


async def test_rejections_are_not_for_the_world(make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver()
    await receiver.send({"deviceId": "d1"})
    assert len((await (await receiver.client.get("/rejections")).json())["rejections"]) == 1
    answer = await receiver.client.get("/rejections", headers={"X-Forwarded-For": "192.0.2.1"})
    assert answer.status == 404
