"""What Prometheus scrapes: the fleet by state, the devices that are quiet for longest, and what reading costs."""

from aiohttp import web
from aioprometheus.collectors import Counter, Gauge, Registry
from iot_receiver.openmetrics import EscapingTextFormatter

from iot_readings import keys

WORST = 10  # devices that are named: never a series for each of a fleet


async def get(request: web.Request) -> web.Response:
    """GET /metrics."""
    formatter = EscapingTextFormatter()
    return web.Response(body=formatter.marshall(_collected(request.app)), headers=formatter.get_headers())


def _collected(app: web.Application) -> Registry:
    registry = Registry()
    fleet, usage = app[keys.FLEET], app[keys.TABLE].usage
    devices = Gauge("iot_fleet_devices", "Devices by state", registry=registry)
    for state, count in fleet.states().items():
        devices.set({"state": state}, count)
    quiet = Gauge(
        "iot_fleet_quiet_seconds", f"Silence of the {WORST} devices that are quiet for longest", registry=registry
    )
    for device in fleet.worst(WORST):
        quiet.set({"device": device.name}, round(device.silent))
    for name, doc, value in (
        ("queries", "Queries that the table answered", usage.queries),
        ("read_units", "Read capacity units that they consumed", usage.units),
    ):
        Counter(f"iot_readings_{name}_total", doc, registry=registry).set({}, value)
    failures = Counter("iot_readings_query_failures_total", "Queries that failed, by error", registry=registry)
    for error, failed in usage.failures.items():
        failures.set({"error": error}, failed)
    streams = Gauge("iot_readings_streams", "Open streams", registry=registry)
    streams.set({}, app[keys.STREAMS].open)
    return registry
