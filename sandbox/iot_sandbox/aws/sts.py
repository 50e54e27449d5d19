"""STS that checks web identity tokens: provider, signature, expiry and the role's trust policy.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Lock
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.iam.models import iam_backends
from moto.sts import urls
from moto.sts.responses import TokenResponse

from iot_sandbox.aws import eks, identities, kubernetes, settings, web_identity

KEYS_LIFETIME_SECONDS = 30.0


class StsError(ServiceException):
    """A refusal in STS's form."""

    def __init__(self, refused: web_identity.RefusedError) -> None:
        super().__init__(str(refused))
        self.code = refused.code
        self.status_code = refused.status


class ClusterKeys:
    """The keys that sign the cluster's service account tokens, read again every half minute."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._keys: Mapping[str, Any] = {}
        self._until = 0.0

    def __call__(self) -> Mapping[str, Any]:
        """The JSON Web Key Set. Raises RefusedError if the cluster does not answer."""
        with self._lock:
            kubeconfig = settings.current().kubeconfig
            if time.monotonic() >= self._until and kubeconfig:
                try:
                    self._keys = kubernetes.load(kubeconfig).call("GET", "/openid/v1/jwks")
                except kubernetes.KubernetesError as error:
                    raise web_identity.RefusedError(
                        "IDPCommunicationError", f"The cluster's signing keys cannot be read: {error}"
                    ) from error
                self._until = time.monotonic() + KEYS_LIFETIME_SECONDS
            return self._keys


cluster_keys = ClusterKeys()


class SandboxTokenResponse(TokenResponse):
    """One request to STS."""

    def get_caller_identity(self) -> ActionResult:
        """GetCallerIdentity: a key of no user or role belongs to the operator, the account's root."""
        if identities.known(settings.current(), self.get_access_key()):
            return super().get_caller_identity()
        account = self.current_account
        root = f"arn:{self.partition}:iam::{account}:root"
        return ActionResult({"UserId": account, "Account": account, "Arn": root})

    def assume_role_with_web_identity(self) -> ActionResult:
        """AssumeRoleWithWebIdentity."""
        iam = iam_backends[self.current_account][self.partition]
        role_arn = self._get_param("RoleArn")
        role = next((r for r in iam.roles.values() if r.arn == role_arn), None)
        providers = [web_identity.Provider(p.arn, p.url, p.client_id_list) for p in iam.open_id_providers.values()]
        try:
            keys = cluster_keys if settings.current().kubeconfig else None
            claims = web_identity.claims_of(self._get_param("WebIdentityToken") or "", keys)
            trust = role.assume_role_policy_document if role else None
            clusters = eks.issuers(self.current_account)
            web_identity.check(claims, providers, trust, clusters=clusters)
        except web_identity.RefusedError as error:
            raise StsError(error) from error
        return super().assume_role_with_web_identity()


def install() -> None:
    """Replace moto's call."""
    urls.url_paths["{0}/$"] = SandboxTokenResponse.dispatch
