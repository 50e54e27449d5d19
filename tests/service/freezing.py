"""Stops botocore's clock, so that two signatures can be compared."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from unittest import mock


@contextmanager
def frozen_clock() -> Iterator[None]:
    """Within it, botocore signs for one and the same moment."""
    moment = datetime.now(UTC)
    with mock.patch("botocore.auth.get_current_datetime", return_value=moment):
        yield
