"""The engine's state over HTTP: /healthz as JSON, /metrics as Prometheus text."""

from __future__ import annotations

from aiohttp import web

from iot_sandbox.rules.consumer import Consumer
from iot_sandbox.rules.engine import Engine
from iot_sandbox.rules.metrics import Metrics


def application(engine: Engine, consumer: Consumer, metrics: Metrics) -> web.Application:
    """Ready (200) once the rules are loaded and the broker is connected, otherwise 503."""

    async def healthz(request: web.Request) -> web.Response:
        ready = engine.loaded.is_set() and consumer.connected
        content = {
            "status": "ok" if ready else "starting",
            "broker": "connected" if consumer.connected else "disconnected",
            "rules": engine.rules,
            "inFlight": consumer.in_flight,
            "metrics": metrics.as_json(),
        }
        return web.json_response(content, status=200 if ready else 503)

    async def text(request: web.Request) -> web.Response:
        lines = [*metrics.as_text(), f"iot_rules_in_flight {consumer.in_flight}", ""]
        return web.Response(text="\n".join(lines), headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/metrics", text)])
    return app
