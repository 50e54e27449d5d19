"""How far this device's clock is off: a reading's time is part of its key in the table."""

import http.client
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from iot_device.settings import Settings
from iot_device.synchronisation import synchronised

TIMEOUT_S = 4.0


@dataclass(frozen=True)
class Clock:
    """`skew` is how many seconds this clock is ahead; None if it could not be compared, with the reason in `why`."""

    skew: float | None
    source: str
    why: str = ""
    synchronised: bool | None = None
    """What the kernel says; None if it does not say."""


def measure(settings: Settings) -> Clock:
    """Compare the clock with the Date of a web server, whose certificate is checked."""
    url = settings.time_url or f"https://{settings.endpoint}/"
    if not url.startswith("https://"):
        return Clock(None, url, "time_url must begin with https://", synchronised())
    try:
        date, asked, answered = _ask(url, settings)
    except (OSError, ValueError, http.client.HTTPException) as error:  # the latter for an invalid address
        return Clock(None, url, str(getattr(error, "reason", error)), synchronised())
    # the server's date is anywhere within its second, and between request and answer
    return Clock((asked + answered) / 2 - (date + 0.5), url, "", synchronised())


def _ask(url: str, settings: Settings) -> tuple[float, float, float]:
    context = ssl.create_default_context()
    context.load_verify_locations(settings.ca)
    context.verify_flags |= _NO_TIME  # with a clock that is far off the certificate would be "not yet valid"
    asked = time.time()
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310 - measure allows https only
            text = answer.headers.get("Date", "")
    except urllib.error.HTTPError as error:  # any answer has a date
        text = error.headers.get("Date", "")
    answered = time.time()
    if not text:
        raise ValueError("the answer has no Date")
    return parsedate_to_datetime(text).timestamp(), asked, answered


_NO_TIME = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME
