"""The API below /v1: each handler reads its parameters, asks fleet or table, and writes JSON, NDJSON or CSV."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from aiohttp import web

from iot_readings import formats, hops, keys, parameters, stream
from iot_readings.fleet import Device, Fleet
from iot_readings.measurements import Measurement
from iot_readings.parameters import ParameterError, Range
from iot_readings.readings import Bucket, Reading, gather, iso, reading
from iot_readings.table import PAGE_ROWS, Table

PAGE_DEVICES = 100  # each costs a Query
MOST_READINGS = 1_000  # of a page of JSON
MOST_BUCKETS = 2_000
MOST_ROWS = 100_000  # that one downsampled answer may read: about 2,500 read units
MOST_EXPORTED = 10_000_000
STREAMED_DEVICES = 50
SLOW_SECONDS = 60.0  # a client that takes nothing for so long is given up

routes = web.RouteTableDef()


@routes.get("/v1/devices")
async def devices(request: web.Request) -> web.StreamResponse:
    """A page of the fleet, each device looked at within the last second."""
    parameters.only(request, "search", "state", "order", "limit", "cursor", "format")
    kind = parameters.accepted(request, "json", "csv", "ndjson")
    fleet = request.app[keys.FLEET]
    order = parameters.one_of(request, "order", ["quiet", "name"])
    limit = parameters.whole(request, "limit", 50, PAGE_DEVICES)
    wanted = _wanted(request)
    listed, start, snapshot = _listed(request, fleet, order)
    page: list[Device] = []
    end: int | None = None
    for index in range(start, len(listed)):
        if wanted(listed[index]):
            if len(page) == limit:
                end = index
                break
            page.append(listed[index])
    following = None
    if end is not None:
        following = parameters.to_cursor(order, page[-1].name if order == "name" else f"{snapshot}/{end}")
    await fleet.look_at_all(page)
    documents = [device.document() for device in page]
    if kind != "json":
        body = formats.ndjson(documents) if kind == "ndjson" else formats.device_rows(documents)
        return _whole(request, kind, body, following)
    document = {
        "devices": documents,
        "matching": sum(map(wanted, listed)) if {"search", "state"} & request.query.keys() else len(listed),
        "states": fleet.states(),
        "complete": request.app[keys.REGISTRY].complete,
        "next": following,
    }
    return _whole(request, kind, formats.encode(document), following)


@routes.get("/v1/devices/{device}/latest")
async def latest(request: web.Request) -> web.StreamResponse:
    """The newest reading of a device."""
    parameters.only(request, "format")
    kind = parameters.accepted(request, "json", "csv", "ndjson")
    name = parameters.device_id(request)
    device = await request.app[keys.FLEET].look(name, fresh=0.0)
    if device.last is None:
        await _existing(request, name)
        raise web.HTTPNotFound(text=f"device {name!r} has sent no reading yet")
    return _whole(request, kind, _written([device.last], request.app[keys.SETTINGS].measurements, kind, head=True))


@routes.get("/v1/devices/{device}/readings")
async def readings(request: web.Request) -> web.StreamResponse:
    """Readings of a device, newest first: as they are, or downsampled to a step."""
    parameters.only(request, "from", "to", "limit", "measurement", "step", "cursor", "format")
    kind = parameters.accepted(request, "json", "csv", "ndjson")
    name = parameters.device_id(request)
    span = parameters.span(request)
    measurements = parameters.measured(request, request.app[keys.SETTINGS].measurements)
    step = parameters.duration(request, "step")
    asked = Asked(request.app[keys.TABLE], name, span, measurements)
    if step is not None:
        return await _downsampled(request, asked, step, kind)
    cursor = parameters.cursor(request, 1)
    after = cursor[0] if cursor else None
    if after is not None and not (span.lower <= after <= span.upper and 0 < len(after.encode()) <= 1_024):
        raise ParameterError("cursor belongs to another range: leave it out to begin again")
    if kind == "json":
        return await _raw_page(request, asked, after)
    limit = parameters.whole(request, "limit", MOST_EXPORTED, MOST_EXPORTED)
    return await _exported(request, asked, kind, limit, after)


@routes.get("/v1/stream")
async def streamed(request: web.Request) -> web.StreamResponse:
    """New readings as server-sent events, of the devices named or of all."""
    parameters.only(request, "device")
    names = list(dict.fromkeys(request.query.getall("device", [])))
    if len(names) > STREAMED_DEVICES:
        raise ParameterError(
            f"device may be given {STREAMED_DEVICES} times at most: leave it out to follow the whole fleet"
        )
    for name in names:
        if request.app[keys.FLEET].get(name) is None:
            await _existing(request, name)
    try:
        return await stream.serve(request, request.app[keys.STREAMS], names)
    except stream.Full:
        raise web.HTTPServiceUnavailable(text="too many streams are open", headers={"Retry-After": "10"}) from None


@routes.get("/v1/health")
async def health(request: web.Request) -> web.StreamResponse:
    """How each hop of a reading's way is."""
    parameters.only(request)
    app = request.app
    document = hops.health(app[keys.FLEET], app[keys.REGISTRY], app.get(keys.RECEIVER), app[keys.TABLE])
    document["measurements"] = [
        {"name": each.name, "type": each.type, "unit": each.unit} for each in app[keys.SETTINGS].measurements
    ]
    document["table"] = app[keys.TABLE].name
    return _whole(request, "json", formats.encode(document))


# --- Devices


def _wanted(request: web.Request) -> Callable[[Device], bool]:
    search = request.query.get("search", "").lower()
    state = request.query.get("state")
    if state is not None:
        parameters.one_of(request, "state", ["quiet", "live", "never", "unknown"])
    return lambda device: (not search or search in device.name.lower()) and (state is None or device.state == state)


def _listed(request: web.Request, fleet: Fleet, order: str) -> tuple[Sequence[Device], int, str]:
    """The fleet in order, from where the page begins, and the order's name."""
    cursor = parameters.cursor(request, 2)
    if cursor is not None and cursor[0] != order:
        raise ParameterError(f"cursor belongs to order={cursor[0]}: leave it out to begin again")
    if order == "name":
        start = bisect_right(fleet.names, cursor[1]) if cursor else 0
        return fleet.by_name, start, ""
    if cursor is None:
        snapshot, listed = fleet.snapshot()
        return listed, 0, snapshot
    snapshot, _, place = cursor[1].partition("/")
    former = fleet.snapshot_of(snapshot)
    if former is None or not place.isdecimal() or len(place) > 9:
        raise ParameterError(
            "cursor has expired: leave it out to begin again, or use order=name, whose cursors stay valid"
        )
    return former, int(place), snapshot


async def _existing(request: web.Request, name: str) -> None:
    """Refuse a device that neither the registry nor the table has.

    Raises:
        web.HTTPNotFound: when there is no such device.
        web.HTTPServiceUnavailable: while the registry was not read yet.
    """
    if request.app[keys.FLEET].get(name) or (await request.app[keys.TABLE].query(name, limit=1)).items:
        return
    if not request.app[keys.REGISTRY].complete:
        raise web.HTTPServiceUnavailable(text="the registry of things is being read", headers={"Retry-After": "2"})
    raise web.HTTPNotFound(text=f"there is no device {name!r}: /v1/devices?search= finds one by a part of its name")


# --- Readings as they are


@dataclass(frozen=True, slots=True)
class Asked:
    """Which readings are asked for, and of which table."""

    table: Table
    device: str
    span: Range
    measurements: Sequence[Measurement]

    async def pages(self, limit: int, after: str | None) -> AsyncGenerator[list[Reading], None]:
        """At most `limit` readings after the key `after`, in pages; at least one page."""
        while True:
            page = await self.table.query(
                self.device, self.span.lower, self.span.upper, limit=min(limit, PAGE_ROWS), after=after
            )
            yield [reading(self.device, item, self.measurements) for item in page.items]
            limit -= len(page.items)
            after = page.next
            if after is None or not limit:
                return


async def _raw_page(request: web.Request, asked: Asked, after: str | None) -> web.StreamResponse:
    limit = parameters.whole(request, "limit", 100, MOST_READINGS)
    found: list[Reading] = []
    async with aclosing(asked.pages(limit + 1, after)) as pages:
        async for page in pages:
            found += page
    if not found:
        await _existing(request, asked.device)
    following = parameters.to_cursor(found[limit - 1].key) if len(found) > limit else None
    document = {
        "deviceId": asked.device,
        "readings": [each.document() for each in found[:limit]],
        "next": following,
    }
    return _whole(request, "json", formats.encode(document), following)


async def _exported(request: web.Request, asked: Asked, kind: str, limit: int, after: str | None) -> web.StreamResponse:
    """Write readings as they are read, a page at a time: an answer of any length takes the memory of one page."""
    response = web.StreamResponse(headers=_headers(kind))
    async with aclosing(asked.pages(limit, after)) as pages:
        first = await anext(pages)  # what goes wrong with it is answered by a status
        if not first:
            await _existing(request, asked.device)
        await response.prepare(request)
        await _send(request, response, _written(first, asked.measurements, kind, head=True))
        async for page in pages:
            await _send(request, response, _written(page, asked.measurements, kind))
    await response.write_eof()
    return response


def _written(found: Sequence[Reading], measurements: Sequence[Measurement], kind: str, *, head: bool = False) -> bytes:
    if kind == "json":
        return formats.encode(found[0].document())
    if kind == "ndjson":
        return formats.ndjson(each.document() for each in found)
    return (formats.reading_head(measurements) if head else b"") + formats.reading_rows(found, measurements)


async def _send(request: web.Request, response: web.StreamResponse, body: bytes) -> None:
    try:
        async with asyncio.timeout(SLOW_SECONDS):
            await response.write(body)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client takes nothing") from None


# --- Downsampled readings


async def _downsampled(request: web.Request, asked: Asked, step: int, kind: str) -> web.StreamResponse:
    for each in asked.measurements:
        if not each.numeric and "measurement" in request.query:
            raise ParameterError(
                f"measurement {each.name} has no numbers to downsample: leave step or this measurement out"
            )
    measurements = [each for each in asked.measurements if each.numeric]
    limit = parameters.whole(request, "limit", MOST_BUCKETS, MOST_BUCKETS)
    cursor = parameters.cursor(request, 1)
    lower, upper = asked.span.lower, asked.span.upper
    if cursor is not None:
        upper = min(upper, _bucket_end(cursor[0]))
    buckets: list[Bucket] = []
    following = None
    if lower < upper:
        asked = replace(asked, span=Range(lower, upper), measurements=measurements)
        buckets, following = await _buckets(asked, step, limit)
    if not buckets:
        await _existing(request, asked.device)
    documents = [bucket.document() for bucket in buckets]
    if kind == "ndjson":
        return _whole(request, kind, formats.ndjson(documents), following)
    if kind == "csv":
        body = formats.bucket_head(measurements) + formats.bucket_rows(asked.device, documents, measurements)
        return _whole(request, kind, body, following)
    document = {"deviceId": asked.device, "stepSeconds": step / 1_000, "buckets": documents, "next": following}
    return _whole(request, kind, formats.encode(document), following)


async def _buckets(asked: Asked, step: int, limit: int) -> tuple[list[Bucket], str | None]:
    """The newest buckets that `limit` and MOST_ROWS allow, all complete, and the cursor of the rest."""
    buckets: list[Bucket] = []
    names = [each.name for each in asked.measurements]
    rows = 0
    async with aclosing(asked.table.rows(asked.device, asked.span.lower, asked.span.upper)) as pages:
        async for items in pages:
            if rows >= MOST_ROWS or len(buckets) > limit:
                kept = buckets[:limit] if len(buckets) > limit else buckets[:-1]
                if not kept:
                    raise ParameterError(
                        f"step is too long: one holds more than {MOST_ROWS} readings; give a shorter one"
                    )
                return kept, parameters.to_cursor(str(kept[-1].start))
            gather(buckets, items, step, names)
            rows += len(items)
    if len(buckets) > limit:
        return buckets[:limit], parameters.to_cursor(str(buckets[limit - 1].start))
    return buckets, None


def _bucket_end(start: str) -> str:
    try:
        return iso(int(start))[:-1]
    except (ValueError, OverflowError):
        raise ParameterError("cursor is broken: leave it out to begin again, or take next of the page before") from None


# --- Answers


def _whole(request: web.Request, kind: str, body: bytes, following: str | None = None) -> web.Response:
    response = web.Response(body=body, headers=_headers(kind))
    if following is not None:
        url = request.rel_url.update_query(cursor=following)
        response.headers["Link"] = f'<{url}>; rel="next"'
    if len(body) > 4_096:
        response.enable_compression()
    return response


def _headers(kind: str) -> dict[str, str]:
    return {"Content-Type": f"{formats.MEDIA[kind]}; charset=utf-8", "Vary": "Accept"}
