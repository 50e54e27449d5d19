"""Server-sent events: new readings to those who follow, whoever else is slow."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientTimeout
from iot_readings import keys, stream
from iot_readings.readings import Reading
from iot_readings.stream import Full, Streams, Subscription

from tests.readings.harness import Readings, eventually, ledger, now, row, store
from tests.service.harness import Table


async def events(response: ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """The events of a stream."""
    name = ""
    async for line in response.content:
        if line.startswith(b"event: "):
            name = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            yield name, json.loads(line[6:])


async def opened(readings: Readings, **parameters: str) -> ClientResponse:
    response = await readings.client.get("/v1/stream", params=parameters, timeout=ClientTimeout(total=30))
    assert (response.status, response.content_type) == (200, "text/event-stream")
    return response


def looked_at(readings: Readings, name: str) -> bool:
    """Whether a device was looked at."""
    device = readings.app[keys.FLEET].get(name)
    return device is not None and device.checked > 0


@pytest.mark.parametrize("named", [{"device": "d1"}, {}])
async def test_new_readings_come_and_older_ones_do_not(
    readings: Readings, table: Table, named: dict[str, str]
) -> None:
    store(table, ledger("d1", 20, start=now() - 30_000))
    response = await opened(readings, **named)
    async with asyncio.timeout(20):
        await eventually(lambda: readings.app[keys.FLEET].states()["live"])
        sent = [row("d1", now() + number, str(number), f"new{number}") for number in range(3)]
        store(table, [*sent, row("d2", now(), "7", "another")] if named else sent)
        found = events(response)
        for number in range(3):
            name, reading = await anext(found)
            assert (name, reading["messageId"]) == ("reading", f"new{number}")
            assert reading["values"] == {"temperature": number}
    response.close()


async def test_a_first_reading_comes_too(readings: Readings, table: Table) -> None:
    response = await opened(readings, device="d3")
    async with asyncio.timeout(20):
        await eventually(lambda: looked_at(readings, "d3"))
        store(table, [row("d3", now(), "1", "first")])
        assert (await anext(events(response)))[1]["messageId"] == "first"
    response.close()


async def test_a_reading_taken_before_the_first_look_comes_and_older_ones_do_not(
    readings: Readings, table: Table
) -> None:
    readings.app[keys.FLEET].add(["late"])
    store(table, [row("late", now() - 60_000, "1", "older"), row("late", now() + 1_000, "2", "first")])
    response = await opened(readings, device="late")
    async with asyncio.timeout(20):
        assert (await anext(events(response)))[1]["messageId"] == "first"
    response.close()


async def test_a_reading_taken_before_its_device_was_found_comes(readings: Readings, table: Table) -> None:
    await readings.complete()
    sent = now()
    store(table, [row("found", sent - 60_000, "1", "older"), row("found", sent, "2", "first")])
    await eventually(lambda: now() > sent)
    readings.app[keys.FLEET].add(["found"])
    response = await opened(readings, device="found")
    async with asyncio.timeout(20):
        assert (await anext(events(response)))[1]["messageId"] == "first"
    response.close()


async def test_many_streams_of_a_device_share_its_queries(readings: Readings, table: Table) -> None:
    responses = await asyncio.gather(*(opened(readings, device="d1") for _ in range(100)))
    assert readings.app[keys.STREAMS].open == 100
    assert list(readings.app[keys.STREAMS].named()) == ["d1"]
    before = readings.app[keys.TABLE].usage.queries
    async with asyncio.timeout(20):
        await eventually(lambda: looked_at(readings, "d1"))
        store(table, [row("d1", now(), "1", "shared")])
        for response in responses:
            assert (await anext(events(response)))[1]["messageId"] == "shared"
    assert readings.app[keys.TABLE].usage.queries - before < 100
    for response in responses:
        response.close()
    async with asyncio.timeout(20):
        while readings.app[keys.STREAMS].open:
            store(table, [row("d1", now(), "1", "to find out who has gone")])
            await asyncio.sleep(0.2)
    assert not list(readings.app[keys.STREAMS].named())


async def test_a_slow_client_holds_a_bounded_number_and_is_told_what_it_missed() -> None:
    subscription = Subscription(["d1"])
    for number in range(stream.BUFFERED + 250):
        subscription.put(Reading("d1", "", str(number), None, None, {}))
    text = (await subscription.next()).decode()
    assert text.startswith('event: dropped\ndata: {"count":250}\n\n')
    assert text.count("event: reading") == stream.BUFFERED
    assert '"time":"250"' in text.split("\n\n")[1]


async def silent(readings: Readings, count: int) -> list[socket.socket]:
    """Clients that ask for a stream and then take nothing of it."""
    url = readings.client.make_url("/")
    clients = []
    for _ in range(count):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, (url.host, url.port))
        await asyncio.get_running_loop().sock_sendall(client, b"GET /v1/stream?device=d1 HTTP/1.1\r\nHost: x\r\n\r\n")
        clients.append(client)
    await eventually(lambda: readings.app[keys.STREAMS].open == count)
    return clients


async def test_five_hundred_clients_that_take_nothing_hurt_nobody(readings: Readings, table: Table) -> None:
    clients = await silent(readings, 500)
    response = await opened(readings, device="d1")
    async with asyncio.timeout(120):
        await eventually(lambda: readings.app[keys.FLEET].states()["never"], 60)
        store(table, [row("d1", now() + number, str(number), f"new{number:02d}") for number in range(50)])
        found = events(response)
        assert [(await anext(found))[1]["messageId"] for _ in range(50)] == [f"new{number:02d}" for number in range(50)]
        assert (await readings.ask("/v1/devices"))["matching"] == 3
    response.close()
    for client in clients:
        client.close()


async def test_who_takes_nothing_for_long_is_given_up_and_holds_little_until_then(
    readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SLOW_SECONDS", 0.5)
    streams = readings.app[keys.STREAMS]
    clients = await silent(readings, 20)
    response = await opened(readings, device="d1")
    last = ""

    async def read() -> None:
        nonlocal last
        async for _, document in events(response):
            last = document.get("time", last)

    reading = asyncio.create_task(read())
    async with asyncio.timeout(120):
        while streams.open > 1:
            for number in range(20):
                streams.publish(Reading("d1", "", str(number), None, None, {"note": "x" * 10_000}))
            await asyncio.sleep(0.02)
        streams.publish(Reading("d1", "", "last", None, None, {}))
        await eventually(lambda: last == "last")
    assert not reading.done()
    reading.cancel()
    response.close()
    for client in clients:
        client.close()


async def test_a_quiet_stream_shows_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.01)
    assert (await Subscription(["d1"]).next()).startswith(b":")


async def test_there_is_a_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_STREAMS", 1)
    streams = Streams()
    with streams.subscribed(["d1"]):
        with pytest.raises(Full), streams.subscribed([]):
            pass
        assert streams.open == 1
    with streams.subscribed([]):
        assert streams.everything


async def test_a_stream_names_fifty_devices_at_most(readings: Readings) -> None:
    response = await readings.client.get("/v1/stream", params=[("device", str(number)) for number in range(51)])
    assert response.status == 400
    assert "50 times at most" in (await response.json())["detail"]
