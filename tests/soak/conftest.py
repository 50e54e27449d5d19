"""The soak tests look at the same sandbox with the same clients as the deployment's tests."""

from tests.deployment.conftest import aws, elsewhere, kubectl, playbook, secret

__all__ = ["aws", "elsewhere", "kubectl", "playbook", "secret"]
