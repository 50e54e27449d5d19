# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the AWS IoT modules share: a client that retries, writes that check mode only checks, reads after writes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

with suppress(ImportError):  # AnsibleAWSModule reports it
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.validate import ParamValidator

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.iotweb.aws_iot.plugins.module_utils.errors import advice, subject
from ansible_collections.iotweb.aws_iot.plugins.module_utils.shapes import faulty_text

# Beside AWSRetry's own list: IoT answers these while a write of the same resource is still spreading.
RETRIED_CODES = [
    "ConflictingResourceUpdateException",
    "DeleteConflictException",
    "InternalException",
    "InternalFailureException",
    "ServiceUnavailableException",
    "ThrottlingException",
    "VersionConflictException",
]
MISSING = "ResourceNotFoundException"
INVALID = "InvalidRequestException"
EXISTS = "ResourceAlreadyExistsException"

# Options of the fragment iotweb.aws_iot.wait.
WAIT_OPTIONS: dict[str, Any] = {
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 30},
}
Reading = Callable[[], Any]


def answered_at(answer: dict[str, Any]) -> datetime | None:
    """Return when AWS says it answered, None where it does not say."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        return parsedate_to_datetime(headers["date"])
    except (KeyError, TypeError, ValueError):
        return None


def pauses(longest: float) -> Iterator[float]:
    """Yield the seconds to wait between looks: most things come at once, some late."""
    pause = 0.2
    while True:
        yield min(pause, longest)
        pause *= 1.5


def instant(moment: Any) -> str:
    """Return a point in time of an answer as text that sorts; empty for none."""
    return moment.astimezone(timezone.utc).isoformat() if moment else ""  # noqa: UP017 - Python 3.9 has no datetime.UTC


def of_all_pages(ask: Callable[..., dict[str, Any]], member: str, arguments: dict[str, Any]) -> list[Any]:
    """Return the named member of all pages that ask gives. IoT pages by nextToken or by marker, one kind a call."""
    found: list[Any] = []
    while True:
        page = ask(**arguments)
        found += page.get(member, [])
        if page.get("nextToken"):
            arguments = arguments | {"nextToken": page["nextToken"]}
        elif page.get("nextMarker"):
            arguments = arguments | {"marker": page["nextMarker"]}
        else:
            return found


class IoT:
    """AWS IoT's control plane as a module sees it.

    Calls take botocore's names and arguments. A call that fails ends the module with the call's name,
    except where the caller lists the error codes it can deal with.
    """

    def __init__(self, module: AnsibleAWSModule) -> None:
        self.module = module
        self.changed = False
        self.now: datetime | None = None  # by AWS's clock, at the last answer
        # What is done before a failure ends the module; it returns what that came to, for the message.
        self.undo: Callable[[], str] | None = None
        # Nine tries within 30 seconds or so, each of which botocore tries again for itself.
        retry = AWSRetry.jittered_backoff(retries=9, delay=0.5, max_delay=10, catch_extra_error_codes=RETRIED_CODES)
        self.client = module.client("iot", retry_decorator=retry)

    def call(self, operation: str, expected: tuple[str, ...] = (), **arguments: Any) -> dict[str, Any]:
        """Return the answer without its metadata. Raises ClientError for the expected codes only."""
        try:
            answer = getattr(self.client, operation)(aws_retry=True, **arguments)
        except is_boto3_error_code(list(expected)):
            raise
        except (BotoCoreError, ClientError) as error:
            self.fail(error, operation, arguments)
        self.now = answered_at(answer) or self.now
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    def fail(self, error: BaseException, operation: str, arguments: dict[str, Any]) -> NoReturn:
        """End the module: which call failed, of what, what to do, and what AWS says."""
        response = getattr(error, "response", {})
        code, text = response.get("Error", {}).get("Code", ""), str(error)
        parts = [f"AWS IoT {operation}{subject(arguments)} failed", advice(code, text, operation).rstrip(".")]
        if self.undo:
            parts.append(self.undo().rstrip("."))
        self.module.fail_json_aws(error, msg=". ".join(part for part in parts if part))
        raise SystemExit(1)  # for type checkers: the line before does not return

    def attempt(self, operation: str, **arguments: Any) -> bool:
        """Do a call on the way out of a failure, which it must not take the place of; returns whether it worked."""
        try:
            getattr(self.client, operation)(aws_retry=True, **arguments)
        except (BotoCoreError, ClientError):
            return False
        return True

    def find(self, operation: str, **arguments: Any) -> dict[str, Any] | None:
        """Return the answer, or None where the resource does not exist."""
        try:
            return self.call(operation, (MISSING,), **arguments)
        except is_boto3_error_code(MISSING):
            return None

    def list(self, operation: str, member: str, **arguments: Any) -> list[Any]:
        """Return the named member of all pages; a resource that isn't there has none."""
        return of_all_pages(lambda **given: self.find(operation, **given) or {}, member, arguments)

    def write(self, operation: str, expected: tuple[str, ...] = (), **arguments: Any) -> dict[str, Any]:
        """Do a call that changes something and return its answer. Check mode only notes the change."""
        self.changed = True
        self.check(operation, arguments)
        return {} if self.module.check_mode else self.call(operation, expected, **arguments)

    def check(self, operation: str, arguments: dict[str, Any]) -> None:
        """End the module where a call's arguments are not as the API describes them."""
        shape = self.input_shape(operation)
        report = ParamValidator().validate(arguments, shape)
        if report.has_errors():
            text = report.generate_report()
            hint = " ".join(part for part in ("would fail.", advice("", text, operation)) if part)
            self.module.fail_json(msg=f"AWS IoT {operation}{subject(arguments)} {hint}\n{text}")
        if fault := faulty_text(arguments, shape):
            self.module.fail_json(msg=f"AWS IoT {operation} would fail: {fault}.")

    def persist(
        self, operation: str, seconds: float, passing: dict[str, str], expected: tuple[str, ...] = (), **arguments: Any
    ) -> dict[str, Any]:
        """Write, again and again while AWS refuses for a reason that passes by itself: error codes and text in them.

        Raises ClientError for the expected codes only.
        """
        until = time.monotonic() + seconds
        for pause in pauses(3):
            try:
                return self.write(operation, (*passing, *expected), **arguments)
            except is_boto3_error_code(list(passing)) as error:
                text = passing[error.response["Error"]["Code"]]
                if not re.search(text, str(error), re.IGNORECASE) or time.monotonic() >= until:
                    self.fail(error, operation, arguments)
            time.sleep(pause)
        return {}

    def remove(
        self, operation: str, passing: dict[str, str] | None = None, least: float = 0, **arguments: Any
    ) -> None:
        """Persist in a call that removes something, for `least` seconds at least; that it is gone is no failure."""
        seconds = max(self.module.params["wait_timeout"], least)
        try:
            self.persist(operation, seconds, passing or {}, (MISSING,), **arguments)
        except is_boto3_error_code(MISSING):
            return

    def input_shape(self, operation: str) -> Any:
        """Return botocore's description of a call's arguments."""
        meta = self.client.meta
        return meta.service_model.operation_model(meta.method_to_api_mapping[operation]).input_shape

    def settled(
        self, read: Reading, agrees: Callable[[Any], bool], what: str, wanted: Any, patient: bool = False
    ) -> Any:
        """Return what reads show after a write, once they agree with it; IoT's reads may lag behind.

        Without anything written, in check mode, and with wait: false that is what was wanted. Patient: so it is, with
        a warning, where reads show nothing in time, as the result holds what can't be had again.
        """
        params = self.module.params
        if not self.changed or self.module.check_mode or not params["wait"]:
            return wanted
        until = time.monotonic() + params["wait_timeout"]
        for pause in pauses(3):
            if agrees(found := read()):
                return found
            if time.monotonic() >= until:
                return self._unsettled(found, what, wanted, patient)
            time.sleep(pause)
        return wanted

    def visible(self, read: Reading) -> Any:
        """Return what exists, as soon as reads show it; None when they never do."""
        params = self.module.params
        until = time.monotonic() + (params["wait_timeout"] if params["wait"] else 0)
        for pause in pauses(3):
            if (found := read()) is not None or time.monotonic() >= until:
                return found
            time.sleep(pause)
        return None

    def _unsettled(self, found: Any, what: str, wanted: Any, patient: bool) -> Any:
        seconds = self.module.params["wait_timeout"]
        if patient and not found:
            self.module.warn(f"AWS IoT took the change, but does not show {what} after {seconds} s")
            return wanted
        if bool(found) != bool(wanted):
            state = "does not show" if wanted else "still shows"
            self.module.fail_json(
                msg=f"AWS IoT took the change, but {state} {what} after {seconds} s: run again, or raise wait_timeout."
            )
        names = ", ".join(name for name in wanted if found.get(name) != wanted[name])
        self.module.warn(f"AWS IoT took the change, but shows other values of {what} after {seconds} s: {names}")
        return found

    def exit(self, name: str, before: Any, after: Any, **results: Any) -> None:
        """End the module with the resource as it is now, under its name, and the diff."""
        results.setdefault("diff", {"before": before or {}, "after": after or {}})
        self.module.exit_json(changed=self.changed, **{name: after or {}}, **results)
