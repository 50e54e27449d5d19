"""Every key under which the application keeps what its parts share."""

from aiobotocore.session import AioSession
from aiohttp import web

from iot_receiver.confirmation import Confirmation
from iot_receiver.credentials import Credentials
from iot_receiver.dead_letters import DeadLetters
from iot_receiver.dynamodb import Endpoint
from iot_receiver.lifecycle import Lifecycle
from iot_receiver.messages import MessageParser
from iot_receiver.metrics import Metrics
from iot_receiver.secrets import Secrets
from iot_receiver.settings import Settings
from iot_receiver.store import Store

SESSION = web.AppKey("session", AioSession)
ENDPOINT = web.AppKey("endpoint", Endpoint)
SETTINGS = web.AppKey("settings", Settings)
METRICS = web.AppKey("metrics", Metrics)
LIFECYCLE = web.AppKey("lifecycle", Lifecycle)
SECRETS = web.AppKey("secrets", Secrets)
CREDENTIALS = web.AppKey("credentials", Credentials)
PARSER = web.AppKey("parser", MessageParser)
STORE = web.AppKey("store", Store)
DEAD_LETTERS = web.AppKey("dead_letters", DeadLetters)
CONFIRMATION = web.AppKey("confirmation", Confirmation)
