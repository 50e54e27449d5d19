"""Whether a role may be assumed with a service account's token, as STS decides it.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from iot_sandbox.shared import policies

ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256"]
ACTIONS = ("sts:AssumeRoleWithWebIdentity", "sts:*", "*")
Claims = Mapping[str, Any]


class RefusedError(Exception):
    """STS refuses; `code` is its error code, `status` the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass(frozen=True)
class Provider:
    """An OpenID Connect provider of IAM."""

    arn: str
    url: str
    audiences: Sequence[str]

    @property
    def host(self) -> str:
        """The issuer without its scheme, as condition keys and ARNs carry it."""
        return self.url.removeprefix("https://").rstrip("/")


def claims_of(token: str, keys: Callable[[], Mapping[str, Any]] | None) -> Claims:
    """The token's claims, its signature verified with the issuer's key set if there is one to ask.

    `keys()` returns a JSON Web Key Set. Raises RefusedError.
    """
    try:
        if keys is None:
            content = json.loads(jws.extract_compact(token.encode()).payload)
        else:
            key_set = KeySet.import_key_set(dict(keys()))  # type: ignore[arg-type]
            content = jwt.decode(token, key_set, algorithms=ALGORITHMS).claims
    except (JoseError, ValueError) as error:
        raise RefusedError("InvalidIdentityToken", f"The ID Token provided is not a valid JWT: {error}") from error
    if not isinstance(content, dict):
        raise RefusedError("InvalidIdentityToken", "The ID Token provided is not a valid JWT")
    return content


def check(
    claims: Claims,
    providers: Sequence[Provider],
    trust_policy: str | None,
    now: float | None = None,
    clusters: Collection[str] = (),
) -> None:
    """Raise RefusedError unless a provider vouches for the token and the role trusts it.

    `trust_policy` is the role's, None for a role that does not exist; `now` is seconds since the epoch. `clusters` are
    the issuers of the account's clusters: one API server stands for all of them, so its tokens are each one's.
    """
    now = time.time() if now is None else now
    issuer = str(claims.get("iss", "")).rstrip("/")
    issuers = {one.removeprefix("https://") for one in (clusters if issuer in clusters else [issuer])}
    vouching = [provider for provider in providers if provider.host in issuers]
    if not vouching:
        raise RefusedError("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {issuer}")
    if float(claims.get("exp", 0)) <= now:
        raise RefusedError("ExpiredTokenException", "Token expired: its expiration time has passed")
    given = claims.get("aud", [])
    audiences = [given] if isinstance(given, str) else list(given)
    vouching = [provider for provider in vouching if set(audiences) & set(provider.audiences)]
    if not vouching:
        raise RefusedError("InvalidIdentityToken", "Incorrect token audience")
    subject = str(claims.get("sub"))
    if not any(
        _allows(each, provider, {f"{provider.host}:sub": [subject], f"{provider.host}:aud": audiences})
        for provider in vouching
        for each in policies.statements(trust_policy or "")
    ):
        raise RefusedError("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", 403)


def _allows(statement: Mapping[str, Any], provider: Provider, values: policies.Context) -> bool:
    principal = statement.get("Principal", {})
    federated = policies.listed(principal.get("Federated") if isinstance(principal, dict) else None)
    return (
        statement.get("Effect") == "Allow"
        and provider.arn in federated
        and any(action in ACTIONS for action in policies.listed(statement.get("Action")))
        and policies.conditions_hold(statement, values)
    )
