"""IAM with the policy simulator, which moto lacks, and instance profiles listed by path.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.iam import urls
from moto.iam.exceptions import NotFoundException
from moto.iam.models import Role, User
from moto.iam.responses import IamResponse

from iot_sandbox.aws import access
from iot_sandbox.shared import policies

MAKING = ("Add", "Allocate", "Create", "Put", "Request", "Run", "Tag")


class MixedActionsError(ServiceException):
    """The simulator does not judge these actions in one call."""

    def __init__(self, groups: Iterable[Sequence[str]]) -> None:
        lists = " and ".join(f"[{','.join(group)}]" for group in groups)
        super().__init__(
            "InvalidInput",
            f"Invalid Input Actions: {lists} require different authorization information. Please refer to the "
            "documentation for more details: "
            "https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html",
        )


def check_mixture(actions: Sequence[str]) -> None:
    """Raise MixedActionsError as IAM does: for several services, for what makes things beside what looks at them.

    Which actions IAM takes together is not documented (aws-cloudformation/rain asks for one at a time).
    """
    groups: dict[tuple[str, bool], list[str]] = {}
    for action in actions:
        service, _, operation = action.partition(":")
        groups.setdefault((service, operation.startswith(MAKING)), []).append(action)
    if len(groups) > 1:
        raise MixedActionsError(groups.values())


class SandboxIamResponse(IamResponse):
    """One request to IAM."""

    def simulate_principal_policy(self) -> ActionResult:
        """SimulatePrincipalPolicy: the principal's policies, its groups' and those given with the call."""
        documents = self._documents(self._get_param("PolicySourceArn") or "")
        return self._simulate([*documents, *self._get_param("PolicyInputList", [])])

    def simulate_custom_policy(self) -> ActionResult:
        """SimulateCustomPolicy."""
        return self._simulate(self._get_param("PolicyInputList", []))

    def list_instance_profiles(self) -> ActionResult:
        """ListInstanceProfiles: those below a path alone, as Karpenter deletes what it finds."""
        prefix = self._get_param("PathPrefix", "/")
        found = [each for each in self.backend.get_instance_profiles() if each.path.startswith(prefix)]
        return ActionResult({"InstanceProfiles": found, "IsTruncated": False})

    def _documents(self, arn: str) -> list[str]:
        holders: Mapping[str, Role | User] = {**self._by_arn("roles"), **self._by_arn("users")}
        if arn not in holders:
            raise NotFoundException(f"The principal {arn} does not exist.")
        holder = holders[arn]
        groups = [group for group in self.backend.groups.values() if isinstance(holder, User) and holder in group.users]
        return list(access.attached((holder, *groups)))

    def _by_arn(self, kind: str) -> dict[str, Role | User]:
        return {each.arn: each for each in vars(self.backend)[kind].values()}

    def _simulate(self, documents: Sequence[str]) -> ActionResult:
        context = {
            entry["ContextKeyName"]: entry.get("ContextKeyValues", [])
            for entry in self._get_param("ContextEntries", [])
        }
        check_mixture(self._get_param("ActionNames", []))
        resources = self._get_param("ResourceArns", []) or ["*"]
        results: list[dict[str, Any]] = [
            {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": policies.decide(documents, action, resource, context).value,
                "MatchedStatements": [],
                "MissingContextValues": [],
            }
            for action in self._get_param("ActionNames", [])
            for resource in resources
        ]
        return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def install() -> None:
    """Replace moto's calls."""
    urls.url_paths["{0}/$"] = SandboxIamResponse.dispatch
