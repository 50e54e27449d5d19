"""The cluster's authentication webhook: who holds the operator's key is let in, nobody else."""

from __future__ import annotations

import base64
import datetime as dt
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.sandbox.aws.emulator import KEY, REGION, SECRET, Emulator

PATH = "/sandbox/token-review"


@pytest.fixture(scope="module", name="emulator")
def _emulator(aws: Emulator) -> Emulator:
    aws.client("eks").create_cluster(
        name="tokens", roleArn="arn:aws:iam::123456789012:role/x", resourcesVpcConfig={"subnetIds": []}
    )
    return aws


def token(
    cluster: str = "tokens",
    *,
    key: str = KEY,
    secret: str = SECRET,
    host: str = f"https://sts.{REGION}.amazonaws.com",
    age: float = 0,
    **parameters: str,
) -> str:
    """A token as `aws eks get-token` makes it, `age` seconds ago."""
    query = urlencode({"Action": "GetCallerIdentity", "Version": "2011-06-15", **parameters})
    request = AWSRequest("GET", f"{host}/?{query}", headers={"x-k8s-aws-id": cluster})
    then = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(seconds=age)
    with mock.patch("botocore.auth.get_current_datetime", return_value=then):
        SigV4QueryAuth(Credentials(key, secret), "sts", REGION, expires=60).add_auth(request)
    return "k8s-aws-v1." + base64.urlsafe_b64encode(str(request.url).encode()).decode().rstrip("=")


def review(emulator: Emulator, text: str) -> dict[str, Any]:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": text}}
    answer = emulator.post(PATH, body)
    assert (answer["apiVersion"], answer["kind"]) == (body["apiVersion"], body["kind"])
    return dict(answer["status"])


def changed(text: str, **parameters: str) -> str:
    """The token with other parameters and the old signature."""
    url = base64.urlsafe_b64decode(text.removeprefix("k8s-aws-v1.") + "==").decode()
    query = {k: v[0] for k, v in parse_qs(urlsplit(url).query).items()} | parameters
    return "k8s-aws-v1." + base64.urlsafe_b64encode(f"{url.split('?')[0]}?{urlencode(query)}".encode()).decode()


def test_operator_is_let_in(emulator: Emulator) -> None:
    status = review(emulator, token())
    assert status["authenticated"] is True
    assert status["user"]["groups"] == ["system:masters"]
    assert status["user"]["username"] == "arn:aws:iam::123456789012:root"


def test_token_made_at_the_emulated_endpoint_is_good(emulator: Emulator) -> None:
    assert review(emulator, token(host=emulator.url))["authenticated"] is True
    assert review(emulator, token(host="https://sts.amazonaws.com"))["authenticated"] is True


def test_tokens_are_good_for_a_quarter_of_an_hour(emulator: Emulator) -> None:
    assert review(emulator, token(age=14 * 60))["authenticated"] is True
    assert "expired" in review(emulator, token(age=15 * 60 + 1))["error"]
    assert "future" in review(emulator, token(age=-3600))["error"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "begin"),
        ("k8s-aws-v1.%%%", "base64"),
        ("eyJhbGciOiJSUzI1NiJ9.e30.x", "begin"),
        (token(cluster="another"), "signature"),
        (token(secret="guessed"), "signature"),
        (token(key="AKIASTRANGERSTRANGER"), "not of this account"),
        (token(host="https://sts.evil.example"), "not STS"),
        (token(Extra="1"), "do not belong"),
        (changed(token(), Action="AssumeRole"), "GetCallerIdentity"),
        (changed(token(), Version="2012-01-01"), "signature"),
        (changed(token(), **{"X-Amz-SignedHeaders": "host"}), "x-k8s-aws-id"),
        (changed(token(age=3600), **{"X-Amz-Date": "20990101T000000Z"}), "future"),
    ],
)
def test_others_are_refused(emulator: Emulator, text: str, reason: str) -> None:
    status = review(emulator, text)
    assert status["authenticated"] is False
    assert reason in status["error"]
    assert "user" not in status


def test_users_without_access_entry_are_refused(emulator: Emulator) -> None:
    iam = emulator.client("iam")
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    status = review(emulator, token(key=key["AccessKeyId"], secret=key["SecretAccessKey"]))
    assert status["authenticated"] is False
    assert "access entry" in status["error"]


@pytest.mark.parametrize("kind", ["user", "role"])
def test_an_access_entry_makes_an_administrator(emulator: Emulator, kind: str) -> None:
    """Of its own cluster, once the entry has the policy."""
    eks, iam, sts = (emulator.client(service) for service in ("eks", "iam", "sts"))
    network: dict[str, list[str]] = {"subnetIds": []}
    for cluster in ("entries", "others"):
        eks.create_cluster(name=f"{cluster}-{kind}", roleArn="arn:aws:iam::123456789012:role/x",
                           resourcesVpcConfig=network, accessConfig={"authenticationMode": "API"})  # fmt: skip
    if kind == "user":
        arn = iam.create_user(UserName="second")["User"]["Arn"]
        keys = {"key": (key := iam.create_access_key(UserName="second")["AccessKey"])["AccessKeyId"],
                "secret": key["SecretAccessKey"]}  # fmt: skip
    else:
        arn = iam.create_role(RoleName="second", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        session = sts.assume_role(RoleArn=arn, RoleSessionName="tests")["Credentials"]
        keys = {"key": session["AccessKeyId"], "secret": session["SecretAccessKey"],
                "X-Amz-Security-Token": session["SessionToken"]}  # fmt: skip
    named = {"clusterName": f"entries-{kind}", "principalArn": arn}
    eks.create_access_entry(**named)
    assert "access entry" in review(emulator, token(f"entries-{kind}", **keys))["error"]
    policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
    eks.associate_access_policy(**named, policyArn=policy, accessScope={"type": "cluster"})
    assert review(emulator, token(f"entries-{kind}", **keys))["user"]["groups"] == ["system:masters"]
    assert "access entry" in review(emulator, token(f"others-{kind}", **keys))["error"]
    eks.delete_access_entry(**named)
    assert "access entry" in review(emulator, token(f"entries-{kind}", **keys))["error"]
