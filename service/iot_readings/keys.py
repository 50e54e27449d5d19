"""Where the application keeps what its handlers share."""

from aiohttp import web
from iot_receiver.credentials import Credentials
from iot_receiver.lifecycle import Lifecycle

from iot_readings.fleet import Fleet
from iot_readings.hops import Receiver
from iot_readings.registry import Registry
from iot_readings.settings import Settings
from iot_readings.stream import Streams
from iot_readings.table import Table

SETTINGS = web.AppKey("settings", Settings)
LIFECYCLE = web.AppKey("lifecycle", Lifecycle)
CREDENTIALS = web.AppKey("credentials", Credentials)
TABLE = web.AppKey("table", Table)
FLEET = web.AppKey("fleet", Fleet)
REGISTRY = web.AppKey("registry", Registry)
STREAMS = web.AppKey("streams", Streams)
RECEIVER = web.AppKey("receiver", Receiver)
