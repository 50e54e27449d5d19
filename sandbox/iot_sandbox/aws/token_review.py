"""EKS's authenticator: a Kubernetes webhook that identifies users by a presigned STS call.

The token is `k8s-aws-v1.` and the URL of a presigned GetCallerIdentity that signs the cluster's name.
https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

PREFIX = "k8s-aws-v1."
LIFETIME = timedelta(minutes=15)
CLOCK_SKEW = timedelta(minutes=5)
CLUSTER_HEADER = "x-k8s-aws-id"
ALGORITHM = "AWS4-HMAC-SHA256"
ALLOWED = {
    "action",
    "version",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-user-agent",
}


class DeniedError(Exception):
    """The token is invalid; the message says why."""


@dataclass(frozen=True)
class Identity:
    """Owner of a key, and the clusters that it administers."""

    arn: str
    secret_key: str
    administers: Collection[str]


def review(
    body: Any, identity_of: Callable[[str], Identity | None], clusters: Sequence[str], own_host: str
) -> dict[str, Any]:
    """Answer a TokenReview (authentication.k8s.io/v1).

    `identity_of(access key)` finds the key's owner; `own_host` is the emulated endpoint's host and port.
    """
    version = (body or {}).get("apiVersion", "authentication.k8s.io/v1")
    try:
        token = str(((body or {}).get("spec") or {}).get("token") or "")
        user = _user(token, identity_of, clusters, own_host, datetime.now(UTC))
        status: dict[str, Any] = {"authenticated": True, "user": user}
    except DeniedError as error:
        status = {"authenticated": False, "error": str(error)}
    return {"apiVersion": version, "kind": "TokenReview", "status": status}


def _user(
    token: str,
    identity_of: Callable[[str], Identity | None],
    clusters: Sequence[str],
    own_host: str,
    now: datetime,
) -> dict[str, Any]:
    url = _presigned_url(token)
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    given = {name.lower(): value for name, value in query}
    _check_form(parts.scheme, parts.netloc, parts.path, given, own_host)
    _check_time(given, now)
    access_key, _, scope = given["x-amz-credential"].partition("/")
    identity = identity_of(access_key)
    if identity is None:
        raise DeniedError(f"access key {access_key} is not of this account")
    for cluster in clusters:
        signature = sign(parts.netloc, query, cluster, scope, identity.secret_key)
        if hmac.compare_digest(signature, given["x-amz-signature"]):
            break
    else:
        raise DeniedError(f"signature does not match any cluster of {', '.join(clusters) or 'this account'}")
    if cluster not in identity.administers:
        raise DeniedError(f"{identity.arn} has no access entry that makes it an administrator of cluster {cluster}")
    return {
        "username": identity.arn,
        "uid": f"aws-iam-authenticator:{identity.arn}",
        "groups": ["system:masters"],
        "extra": {"accessKeyId": [access_key], "arn": [identity.arn]},
    }


def sign(host: str, query: Sequence[tuple[str, str]], cluster: str, scope: str, secret_key: str) -> str:
    """The signature (version 4, in hexadecimal) of a presigned GetCallerIdentity for a cluster."""
    signed = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in query if k.lower() != "x-amz-signature")
    request = "\n".join(
        (
            "GET",
            "/",
            "&".join(f"{name}={value}" for name, value in signed),
            f"host:{host}\n{CLUSTER_HEADER}:{cluster}\n",
            f"host;{CLUSTER_HEADER}",
            hashlib.sha256(b"").hexdigest(),
        )
    )
    time = next(value for name, value in query if name.lower() == "x-amz-date")
    text = "\n".join((ALGORITHM, time, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def _presigned_url(token: str) -> str:
    if not token.startswith(PREFIX):
        raise DeniedError(f"token does not begin with {PREFIX}")
    text = token.removeprefix(PREFIX)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise DeniedError(f"token is not base64: {error}") from error


def _check_form(scheme: str, host: str, path: str, given: dict[str, str], own_host: str) -> None:
    is_sts = scheme == "https" and (host == "sts.amazonaws.com" or (host.startswith("sts.") and _is_aws(host)))
    if not is_sts and host != own_host:
        raise DeniedError(f"host {host!r} is not STS")
    if path not in ("", "/"):
        raise DeniedError(f"path {path!r} is not STS's")
    unexpected = set(given) - ALLOWED
    if unexpected:
        raise DeniedError(f"parameters {sorted(unexpected)} do not belong in the token")
    if given.get("action") != "GetCallerIdentity" or given.get("x-amz-algorithm") != ALGORITHM:
        raise DeniedError("token is not a presigned GetCallerIdentity")
    if given.get("x-amz-signedheaders", "").lower().split(";") != ["host", CLUSTER_HEADER]:
        raise DeniedError(f"token does not sign {CLUSTER_HEADER}")
    if not given.get("x-amz-signature") or given.get("x-amz-credential", "").count("/") != 4:
        raise DeniedError("token is not signed")


def _is_aws(host: str) -> bool:
    labels = host.split(".")
    return len(labels) == 4 and labels[2:] == ["amazonaws", "com"]


def _check_time(given: dict[str, str], now: datetime) -> None:
    try:
        made = datetime.strptime(given.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise DeniedError(f"token has no valid date: {error}") from error
    # Tokens carry X-Amz-Expires=60 but are valid for 15 minutes: the authenticator uses the date.
    if now >= made + LIFETIME:
        raise DeniedError("token has expired")
    if made > now + CLOCK_SKEW:
        raise DeniedError("token is from the future")
