"""STS and IAM: a pod's token opens the role that trusts it, and no other; the simulator knows what roles may."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from joserfc.jwk import RSAKey

from tests.sandbox.aws.cluster import ISSUER, Cluster, cluster_at
from tests.sandbox.aws.emulator import ACCOUNT, REGION, Emulator, running, serving
from tests.support.certificates import Authority

HOST = ISSUER.removeprefix("https://")
SUBJECT = "system:serviceaccount:apps:iot-receiver"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{HOST}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/receiver"


@pytest.fixture(scope="module", name="cluster")
def _cluster(tmp_path_factory: pytest.TempPathFactory, aws_authority: Authority) -> Iterator[Cluster]:
    with serving(aws_authority) as endpoint:
        yield cluster_at(endpoint, aws_authority.certificate, tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module", name="emulator")
def _emulator(
    tmp_path_factory: pytest.TempPathFactory, aws_authority: Authority, cluster: Cluster
) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("sts"), aws_authority, KUBECONFIG=str(cluster.kubeconfig)) as emulator:
        iam = emulator.client("iam")
        iam.create_open_id_connect_provider(Url=ISSUER, ClientIDList=["sts.amazonaws.com"], ThumbprintList=["9" * 40])
        equals = {f"{HOST}:sub": SUBJECT, f"{HOST}:aud": "sts.amazonaws.com"}
        trust = {
            "Effect": "Allow",
            "Principal": {"Federated": PROVIDER},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": equals},
        }
        iam.create_role(
            RoleName="receiver", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )
        yield emulator


def assume(emulator: Emulator, token: str, role: str = ROLE) -> dict[str, Any]:
    sts: Any = boto3.client(
        "sts", endpoint_url=emulator.url, region_name=REGION, config=Config(signature_version=UNSIGNED)
    )
    answer = sts.assume_role_with_web_identity(RoleArn=role, RoleSessionName="pod", WebIdentityToken=token)
    return dict(answer["Credentials"])


def test_pod_becomes_its_role(emulator: Emulator, cluster: Cluster) -> None:
    credentials = assume(emulator, cluster.token(SUBJECT))
    sts = emulator.client(
        "sts", credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]
    )
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/receiver/pod"


def test_others_are_refused(emulator: Emulator, cluster: Cluster) -> None:
    forger = Cluster(cluster.endpoint, cluster.kubeconfig, key=RSAKey.generate_key(2048, {"kid": "k"}))
    cases = [
        (cluster.token("system:serviceaccount:apps:other"), ROLE, "AccessDenied"),
        (cluster.token(SUBJECT), f"{ROLE}-missing", "AccessDenied"),
        (cluster.token(SUBJECT, aud=["https://kubernetes.default.svc"]), ROLE, "InvalidIdentityToken"),
        (cluster.token(SUBJECT, iss="https://elsewhere"), ROLE, "InvalidIdentityToken"),
        (cluster.token(SUBJECT, exp=int(time.time()) - 1), ROLE, "ExpiredTokenException"),
        (forger.token(SUBJECT), ROLE, "InvalidIdentityToken"),
        ("no.token.here", ROLE, "InvalidIdentityToken"),
    ]
    for token, role, expected in cases:
        with pytest.raises(ClientError) as error:
            assume(emulator, token, role)
        assert error.value.response["Error"]["Code"] == expected, (token, role)


def test_a_second_cluster_has_an_issuer_of_its_own(emulator: Emulator, cluster: Cluster) -> None:
    """One API server stands for both, so its tokens open the roles of either."""
    eks, iam = emulator.client("eks"), emulator.client("iam")
    issuers = []
    for name in ("first", "second"):
        eks.create_cluster(name=name, roleArn=ROLE, resourcesVpcConfig={"subnetIds": []})
        issuers.append(eks.describe_cluster(name=name)["cluster"]["identity"]["oidc"]["issuer"])
    assert issuers[0] == ISSUER
    assert issuers[1] != ISSUER
    host = issuers[1].removeprefix("https://")
    arn = iam.create_open_id_connect_provider(
        Url=issuers[1], ClientIDList=["sts.amazonaws.com"], ThumbprintList=["9" * 40]
    )["OpenIDConnectProviderArn"]
    trust = {
        "Effect": "Allow",
        "Principal": {"Federated": arn},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{host}:sub": "system:serviceaccount:staging:iot-receiver"}},
    }
    iam.create_role(
        RoleName="second", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    second = ROLE.replace("receiver", "second")
    assert assume(emulator, cluster.token("system:serviceaccount:staging:iot-receiver"), second)
    assert assume(emulator, cluster.token(SUBJECT))
    with pytest.raises(ClientError, match="AccessDenied"):
        assume(emulator, cluster.token(SUBJECT), second)


def test_simulator_knows_what_a_role_may(emulator: Emulator) -> None:
    iam = emulator.client("iam")
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"
    statements = [
        {"Effect": "Allow", "Action": ["sqs:Send*"], "Resource": queue},
        {
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": "*",
            "Condition": {"StringEquals": {"iam:PassedToService": "iot.amazonaws.com"}},
        },
        {"Effect": "Deny", "Action": "sqs:*", "Resource": f"{queue}-locked"},
        {"Effect": "Allow", "Action": "sqs:*", "Resource": f"{queue}-locked"},
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_role_policy(RoleName="receiver", PolicyName="own", PolicyDocument=document)
    iam.attach_role_policy(RoleName="receiver", PolicyArn="arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess")

    def decided(action: str, resource: str = "*", **context: str) -> str:
        entries = [
            {"ContextKeyName": k.replace("_", ":"), "ContextKeyValues": [v], "ContextKeyType": "string"}
            for k, v in context.items()
        ]
        found = iam.simulate_principal_policy(
            PolicySourceArn=ROLE, ActionNames=[action], ResourceArns=[resource], ContextEntries=entries
        )
        return str(found["EvaluationResults"][0]["EvalDecision"])

    assert decided("sqs:SendMessage", queue) == "allowed"
    assert decided("sqs:SendMessage", f"{queue}-other") == "implicitDeny"
    assert decided("sqs:SendMessage", f"{queue}-locked") == "explicitDeny"
    assert decided("sqs:GetQueueAttributes", f"{queue}-other") == "allowed"
    assert decided("iam:PassRole", ROLE, iam_PassedToService="iot.amazonaws.com") == "allowed"
    assert decided("iam:PassRole", ROLE, iam_PassedToService="ec2.amazonaws.com") == "implicitDeny"
    assert decided("iam:PassRole", ROLE) == "implicitDeny"
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.simulate_principal_policy(PolicySourceArn=f"{ROLE}-missing", ActionNames=["sqs:SendMessage"])
