"""Credential plugin for Kubernetes clients: a token that EKS accepts, without the AWS CLI.

The token is a presigned STS request by whose answer EKS learns who asks (the scheme of aws-iam-authenticator);
EKS takes it for 15 minutes. Tokens are kept beside the kubeconfig, readable by us only, since making one
costs a second and each Kubernetes task of a run asks anew.

Usage: eks_token.py CLUSTER REGION CACHE_FILE
Credentials, profile and endpoint come from the environment, as for every AWS client.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

VALID_MINUTES = 14  # one less than EKS's own limit
SPARE_MINUTES = 2  # a kept token must be good for as long as a request may take
FETCHED_WITH = (  # what decides whose token it is
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_STS",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
)


def make(cluster: str, region: str, now: datetime) -> dict[str, Any]:
    """A new credential, as Kubernetes' ExecCredential status."""
    # Imported here: they cost half a second, which a kept token saves.
    from botocore.session import Session  # noqa: PLC0415
    from botocore.signers import RequestSigner  # noqa: PLC0415

    session = Session()
    client = session.create_client("sts", region_name=region)
    credentials = session.get_credentials()
    if credentials is None:
        sys.exit("eks_token: no AWS credentials were found; set them in aws_environment or name AWS_PROFILE there.")
    signer = RequestSigner(
        client.meta.service_model.service_id,
        region,
        "sts",
        "v4",
        credentials,
        session.get_component("event_emitter"),
    )
    url = signer.generate_presigned_url(
        {
            "method": "GET",
            "url": f"{client.meta.endpoint_url.rstrip('/')}/?Action=GetCallerIdentity&Version=2011-06-15",
            "body": {},
            "headers": {"x-k8s-aws-id": cluster},
            "context": {},
        },
        region_name=region,
        expires_in=60,
        operation_name="",
    )
    expires = now + timedelta(minutes=VALID_MINUTES)
    return {
        "token": "k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("="),
        "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def kept(cache: Path, origin: str, now: datetime) -> dict[str, Any] | None:
    """The credential of an earlier call, if it is of the same origin and still good."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        entry = json.loads(cache.read_text())
        expires = datetime.fromisoformat(entry["status"]["expirationTimestamp"])
        if entry["origin"] == origin and expires - now > timedelta(minutes=SPARE_MINUTES):
            status: dict[str, Any] = entry["status"]
            return status
    return None


def keep(cache: Path, origin: str, status: dict[str, Any]) -> None:
    """Store a credential, readable by us only; several may do so at once."""
    draft = cache.with_name(f"{cache.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"origin": origin, "status": status}, file)
    draft.replace(cache)


def main(cluster: str, region: str, cache_file: str) -> None:
    """Print an ExecCredential."""
    now, cache = datetime.now(UTC), Path(cache_file)
    inputs = [cluster, region, *(os.environ.get(name, "") for name in FETCHED_WITH)]
    origin = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()
    status = kept(cache, origin, now)
    if status is None:
        status = make(cluster, region, now)
        keep(cache, origin, status)
    print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))


if __name__ == "__main__":
    main(*sys.argv[1:])
