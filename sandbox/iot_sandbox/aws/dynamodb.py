"""DynamoDB: rows and tables in DynamoDB Local, with what that lacks answered here.

Every call goes to DynamoDB Local, so that clients of this endpoint and of DynamoDB Local itself see the same
tables. Kept here per table: tags, point-in-time recovery, encryption, deletion protection and the table's id.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/DynamoDBLocal.UsageNotes.html
"""

from __future__ import annotations

import http.client
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from iot_sandbox.aws.errors import Answer

TARGET = re.compile(r"DynamoDB(?:Streams)?_20120810\.(\w+)")
LOCAL_ARN = re.compile(rb"arn:aws:dynamodb:ddblocal:000000000000:")
TABLE_ARN = re.compile(r"arn:[\w-]+:dynamodb:[\w-]+:\d+:table/([^/]+)$")
NOT_FORWARDED = (
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "transfer-encoding",
    "x-amz-target",
)
TIMEOUT_SECONDS = 30.0
# What a new on-demand table takes at once:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html#on-demand-capacity-mode-initial
WARM = {"ReadUnitsPerSecond": 12000, "WriteUnitsPerSecond": 4000}

# Of CreateTable and UpdateTable, what DynamoDB Local refuses or forgets.
KEPT = ("Tags", "SSESpecification", "DeletionProtectionEnabled", "TableClass", "OnDemandThroughput", "WarmThroughput")

Body = dict[str, Any]


class DynamoDBError(Exception):
    """An error in DynamoDB's form."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass
class Extras:
    """What DynamoDB Local does not keep of a table. Times are seconds since the epoch."""

    tags: dict[str, str] = field(default_factory=dict)
    recovery: bool = False
    recovery_days: int = 35
    recovery_since: float = 0.0
    encryption: Body = field(default_factory=dict)
    deletion_protection: bool = False
    table_class: str = "STANDARD"
    most_units: dict[str, int] = field(default_factory=dict)  # OnDemandThroughput
    warm_units: dict[str, int] = field(default_factory=lambda: dict(WARM))


class DynamoDB:
    """Forwards to DynamoDB Local at `url`; one per process, safe for concurrent calls."""

    def __init__(self, url: str, account_id: str) -> None:
        self._url = urlsplit(url)
        self._account_id = account_id
        self._extras: dict[tuple[str, str], Extras] = {}
        self._lock = Lock()
        self._own: dict[str, Callable[[str, Body], Body]] = {
            "DescribeContinuousBackups": self._describe_backups,
            "UpdateContinuousBackups": self._update_backups,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsOfResource": self._list_tags,
            "DescribeKinesisStreamingDestination": self._describe_kinesis,
            "DescribeContributorInsights": self._describe_insights,
            "GetResourcePolicy": self._no_resource_policy,
        }

    def handle(self, target: str, region: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one call. `region` is the one the request was signed for."""
        match = TARGET.fullmatch(target)
        operation = match.group(1) if match else ""
        try:
            request: Body = json.loads(body) if body else {}
            own = self._own.get(operation)
            if own:
                self._check_exists(region, headers, _table_name(request))
                return _json(200, own(region, request))
            return self._forward_table_call(operation, target, region, headers, request, body)
        except DynamoDBError as error:
            code = f"com.amazonaws.dynamodb.v20120810#{error.code}"
            return _json(error.status, {"__type": code, "message": str(error)})
        except (OSError, http.client.HTTPException) as error:
            # Clients should retry: DynamoDB Local is starting or restarting.
            message = f"DynamoDB Local does not answer: {error}"
            return _json(503, {"__type": "com.amazonaws.dynamodb.v20120810#ServiceUnavailable", "message": message})

    # --- tables

    def _forward_table_call(  # noqa: PLR0917 - one call's parts
        self, operation: str, target: str, region: str, headers: Mapping[str, str], request: Body, body: bytes
    ) -> Answer:
        given = dict(request)
        if operation == "DeleteTable" and self._of(region, _table_name(request)).deletion_protection:
            name = _table_name(request)
            raise DynamoDBError(
                "ValidationException",
                "Resource cannot be deleted as it is currently protected against deletion. "
                f"Disable deletion protection first. Table: {name}",
            )
        if operation in ("CreateTable", "UpdateTable"):
            present = self._of(region, _table_name(request)) if operation == "UpdateTable" else Extras()
            self._check_warm(present, request)
            for member in KEPT:
                request.pop(member, None)
            if operation == "UpdateTable" and set(request) <= {"TableName"}:
                target = target.replace("UpdateTable", "DescribeTable")
            body = json.dumps({**request, "TableName": _table_name(request)}).encode()
        elif ":table/" in str(request.get("TableName", "")):
            body = json.dumps({**request, "TableName": _table_name(request)}).encode()
        answer = self._forward(target, region, headers, body)
        if answer.status == 200 and operation in ("CreateTable", "UpdateTable"):
            self._keep(operation, region, given)
        return self._complete(operation, region, given, answer)

    def _keep(self, operation: str, region: str, request: Body) -> None:
        key = (region, _table_name(request))
        with self._lock:
            if operation == "CreateTable":
                self._extras[key] = Extras()
            extras = self._extras.setdefault(key, Extras())
            extras.tags.update({t["Key"]: t["Value"] for t in request.get("Tags") or []})
            if "DeletionProtectionEnabled" in request:
                extras.deletion_protection = bool(request["DeletionProtectionEnabled"])
            if "SSESpecification" in request:
                extras.encryption = _encryption(request["SSESpecification"], region, self._account_id)
            extras.table_class = request.get("TableClass") or extras.table_class
            extras.most_units |= request.get("OnDemandThroughput") or {}
            extras.warm_units |= request.get("WarmThroughput") or {}

    @staticmethod
    def _check_warm(extras: Extras, request: Body) -> None:
        """Refuse less than what the table takes already."""
        for name, wanted in (request.get("WarmThroughput") or {}).items():
            if wanted < extras.warm_units[name]:
                raise DynamoDBError(
                    "ValidationException",
                    f"One or more parameter values were invalid: Requested {name} for WarmThroughput for table is "
                    "lower than current WarmThroughput, decreasing WarmThroughput is not supported",
                )

    def _complete(self, operation: str, region: str, request: Body, answer: Answer) -> Answer:
        """Add to a table's description what DynamoDB Local leaves out."""
        member = {"DescribeTable": "Table", "CreateTable": "TableDescription"}.get(operation, "TableDescription")
        if answer.status != 200 or operation not in (
            "DescribeTable",
            "CreateTable",
            "UpdateTable",
            "DeleteTable",
        ):
            return answer
        content = json.loads(answer.body)
        table = content.pop("Table", None) or content.get(member) or content.get("TableDescription") or {}
        extras = self._of(region, _table_name(request))
        table["TableId"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{table['TableArn']}/{table['CreationDateTime']}"))
        table["DeletionProtectionEnabled"] = extras.deletion_protection
        if extras.encryption:
            table["SSEDescription"] = extras.encryption
        if extras.most_units:
            table["OnDemandThroughput"] = extras.most_units
        if table.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST":
            table["WarmThroughput"] = {**extras.warm_units, "Status": "ACTIVE"}
        if extras.table_class != "STANDARD":
            table["TableClassSummary"] = {"TableClass": extras.table_class}
        if operation == "DeleteTable":
            with self._lock:
                self._extras.pop((region, _table_name(request)), None)
        return _json(200, {member: table})

    def _of(self, region: str, name: str) -> Extras:
        with self._lock:
            return self._extras.setdefault((region, name), Extras())

    # --- what DynamoDB Local does not have

    def _describe_backups(self, region: str, request: Body) -> Body:
        extras = self._of(region, _table_name(request))
        recovery: Body = {"PointInTimeRecoveryStatus": "ENABLED" if extras.recovery else "DISABLED"}
        if extras.recovery:
            recovery |= {
                "RecoveryPeriodInDays": extras.recovery_days,
                "EarliestRestorableDateTime": extras.recovery_since,
                "LatestRestorableDateTime": time.time(),
            }
        description = {"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": recovery}
        return {"ContinuousBackupsDescription": description}

    def _update_backups(self, region: str, request: Body) -> Body:
        extras = self._of(region, _table_name(request))
        wanted = request.get("PointInTimeRecoverySpecification") or {}
        if wanted.get("PointInTimeRecoveryEnabled") and not extras.recovery:
            extras.recovery_since = time.time()
        extras.recovery = bool(wanted.get("PointInTimeRecoveryEnabled"))
        extras.recovery_days = int(wanted.get("RecoveryPeriodInDays") or extras.recovery_days)
        return self._describe_backups(region, request)

    def _tag(self, region: str, request: Body) -> Body:
        self._of(region, _table_name(request)).tags.update({t["Key"]: t["Value"] for t in request["Tags"]})
        return {}

    def _untag(self, region: str, request: Body) -> Body:
        for key in request["TagKeys"]:
            self._of(region, _table_name(request)).tags.pop(key, None)
        return {}

    def _list_tags(self, region: str, request: Body) -> Body:
        tags = self._of(region, _table_name(request)).tags
        return {"Tags": [{"Key": key, "Value": value} for key, value in sorted(tags.items())]}

    def _describe_kinesis(self, region: str, request: Body) -> Body:
        return {"TableName": _table_name(request), "KinesisDataStreamDestinations": []}

    def _describe_insights(self, region: str, request: Body) -> Body:
        return {"TableName": _table_name(request), "ContributorInsightsStatus": "DISABLED"}

    def _no_resource_policy(self, region: str, request: Body) -> Body:
        raise DynamoDBError("PolicyNotFoundException", "The table has no resource-based policy")

    def _check_exists(self, region: str, headers: Mapping[str, str], name: str) -> None:
        body = json.dumps({"TableName": name}).encode()
        answer = self._forward("DynamoDB_20120810.DescribeTable", region, headers, body)
        if answer.status != 200:
            raise DynamoDBError("ResourceNotFoundException", f"Requested resource not found: Table: {name} not found")

    # --- transport

    def _forward(self, target: str, region: str, headers: Mapping[str, str], body: bytes) -> Answer:
        sent = {k: v for k, v in headers.items() if k.lower() not in NOT_FORWARDED}
        sent |= {"X-Amz-Target": target, "X-Sandbox-Recorded": "yes"}  # not to be counted once more by start.bsh
        connection = http.client.HTTPConnection(self._url.hostname or "", self._url.port or 80, timeout=TIMEOUT_SECONDS)
        with closing(connection):
            connection.request("POST", "/", body, sent)
            response = connection.getresponse()
            content = response.read()
        arn = f"arn:aws:dynamodb:{region}:{self._account_id}:".encode()
        kept = [
            (k, v)
            for k, v in response.getheaders()
            # The answer's checksum is of the body before its ARNs were corrected.
            if k.lower() in ("content-type", "x-amzn-requestid")
        ]
        return Answer(response.status, tuple(kept), LOCAL_ARN.sub(arn, content))


def _table_name(request: Body) -> str:
    """The table's name, also where its ARN was given."""
    given = str(request.get("TableName") or request.get("ResourceArn") or "")
    match = TABLE_ARN.match(given)
    return match.group(1) if match else given


def _encryption(specification: Body, region: str, account_id: str) -> Body:
    """SSEDescription; without it a table is encrypted by a key that DynamoDB owns, which is not described."""
    if not specification.get("Enabled"):
        return {}
    key = specification.get("KMSMasterKeyId") or f"arn:aws:kms:{region}:{account_id}:key/aws-dynamodb"
    return {"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": key}


def _json(status: int, content: Body) -> Answer:
    headers = (("Content-Type", "application/x-amz-json-1.0"), ("x-amzn-RequestId", str(uuid.uuid4())))
    return Answer(status, headers, json.dumps(content).encode())
