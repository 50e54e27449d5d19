"""Secrets Manager whose current version is the one labelled AWSCURRENT.

moto moves the label but goes on answering with the version that had it, so a rotation would never show, and a
secret's date of change does not show that labels were moved. A name is taken until its deleted secret is gone for good:
https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html
"""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

from moto.secretsmanager import models, urls
from moto.secretsmanager.exceptions import InvalidRequestException
from moto.secretsmanager.models import FakeSecret, SecretsManagerBackend

CURRENT = "AWSCURRENT"


class SandboxSecretsManagerBackend(SecretsManagerBackend):
    """Secrets of one account and region."""

    @property
    def _url_module(self) -> ModuleType:
        return urls

    def create_secret(self, name: str, *arguments: Any, **options: Any) -> str:
        """CreateSecret: refused for a name whose secret can still be restored."""
        if name in self.secrets and self.secrets[name].is_deleted():
            raise InvalidRequestException(
                "You can't create this secret because a secret with this name is already scheduled for deletion."
            )
        return super().create_secret(name, *arguments, **options)

    def update_secret_version_stage(
        self, secret_id: str, version_stage: str, remove_from_version_id: str, move_to_version_id: str
    ) -> tuple[str, str]:
        """UpdateSecretVersionStage."""
        answer = super().update_secret_version_stage(
            secret_id, version_stage, remove_from_version_id, move_to_version_id
        )
        secret = self.secrets[secret_id]
        if version_stage == CURRENT and move_to_version_id and isinstance(secret, FakeSecret):
            secret.set_default_version_id(move_to_version_id)
        if isinstance(secret, FakeSecret):
            secret.last_changed_date = int(time.time())
        return answer


def install() -> None:
    """Replace moto's backend."""
    models.secretsmanager_backends.backend = SandboxSecretsManagerBackend
