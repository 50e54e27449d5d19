"""The emulated AWS account of a test, with what a deployment would have put into it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import boto3

from tests.support.certificates import Authority
from tests.support.paths import ROOT
from tests.support.waiting import until

ACCOUNT, REGION = "123456789012", "us-east-2"


class Emulator:
    """A running emulator, and the environment of its clients."""

    def __init__(self, url: str, authority: Authority) -> None:
        self.url = url
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SANDBOX_"))} | {
            "PYTHONPATH": str(ROOT / "sandbox"),
            "SANDBOX_CA_DIR": str(authority.folder),
            "SANDBOX_CA_BUNDLE": str(authority.certificate),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "AKIASANDBOXSANDBOX00",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="AKIASANDBOXSANDBOX00",
            aws_secret_access_key="sandbox",
        )

    def role(self, name: str, *statements: Mapping[str, Any], trusts: str = "iot.amazonaws.com") -> str:
        """A role that a service may assume; its ARN."""
        iam = self.client("iam")
        trust = {"Effect": "Allow", "Principal": {"Service": trusts}, "Action": "sts:AssumeRole"}
        arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))
        return arn

    def queue(self, name: str) -> tuple[str, str]:
        """A queue: its URL and ARN."""
        sqs = self.client("sqs")
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def receive(self, url: str) -> Any:
        """The JSON body of the one message that a queue gets within some seconds."""
        found: list[Any] = []

        def arrived() -> bool:
            found.extend(self.drain(url))
            return bool(found)

        until(arrived, otherwise="nothing arrives in the queue")
        (body,) = found
        return body

    def drain(self, url: str) -> list[Any]:
        """The JSON bodies of all messages in a queue, which are deleted."""
        sqs, bodies = self.client("sqs"), []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                bodies.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies


def allow(action: str | list[str], resource: str) -> Mapping[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


READ_SECRET = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
"""What get_secret() needs of its role."""


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
