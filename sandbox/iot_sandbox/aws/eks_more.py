"""EKS's calls that moto lacks: versions, access entries, add-ons."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow

from iot_sandbox.aws import addons, eks_updates, eks_versions
from iot_sandbox.aws.access_entries import Entries

ENTRY = ("kubernetesGroups", "tags", "type", "username")
PATHS = (
    *eks_updates.PATHS,
    "{0}/cluster-versions$",
    "{0}/addons/supported-versions$",
    "{0}/clusters/(?P<name>[^/]+)/addons$",
    "{0}/clusters/(?P<name>[^/]+)/addons/(?P<addonName>[^/]+)$",
    "{0}/clusters/(?P<name>[^/]+)/addons/(?P<addonName>[^/]+)/update$",
    "{0}/clusters/(?P<name>[^/]+)/access-entries",
    "{0}/clusters/(?P<name>[^/]+)/access-entries/(?P<principalArn>.+)",
)


class MoreEKSResponse(eks_updates.UpdatingEKSResponse):
    """One request to EKS."""

    # --- versions

    def describe_cluster_versions(self) -> ActionResult:
        """DescribeClusterVersions, in one page."""
        found = eks_versions.descriptions(self.querystring.get("clusterVersions"), utcnow().date())
        return ActionResult({"clusterVersions": found})

    # --- access entries

    def create_access_entry(self) -> ActionResult:
        """CreateAccessEntry."""
        entry = self._entries().create(self._get_param("principalArn"), self._wanted(*ENTRY))
        return ActionResult({"accessEntry": entry.description()})

    def describe_access_entry(self) -> ActionResult:
        """DescribeAccessEntry."""
        return ActionResult({"accessEntry": self._entries().get(self._principal()).description()})

    def list_access_entries(self) -> ActionResult:
        """ListAccessEntries, in one page."""
        return ActionResult({"accessEntries": self._entries().principals()})

    def update_access_entry(self) -> ActionResult:
        """UpdateAccessEntry."""
        entry = self._entries().update(self._principal(), self._wanted(*ENTRY))
        return ActionResult({"accessEntry": entry.description()})

    def delete_access_entry(self) -> ActionResult:
        """DeleteAccessEntry."""
        self._entries().delete(self._principal())
        return EmptyResult()

    def associate_access_policy(self) -> ActionResult:
        """AssociateAccessPolicy."""
        principal, policy = self._principal(), self._get_param("policyArn")
        associated = self._entries().associate(principal, policy, self._get_param("accessScope") or {})
        name = self._get_param("name")
        return ActionResult({"clusterName": name, "principalArn": principal, "associatedAccessPolicy": associated})

    def list_associated_access_policies(self) -> ActionResult:
        """ListAssociatedAccessPolicies, in one page."""
        entry = self._entries().get(self._principal())
        found = list(entry.policies.values())
        answer = {"clusterName": entry.cluster, "principalArn": entry.principal, "associatedAccessPolicies": found}
        return ActionResult(answer)

    def disassociate_access_policy(self) -> ActionResult:
        """DisassociateAccessPolicy."""
        self._entries().disassociate(self._principal(), unquote(self.path.partition("/access-policies/")[2]))
        return EmptyResult()

    def _entries(self) -> Entries:
        entries: Entries = self._cluster().entries
        return entries

    def _wanted(self, *names: str) -> dict[str, Any]:
        return {name: self._get_param(name) for name in names}

    def _principal(self) -> str:
        path = unquote(self.path).partition("/access-entries/")[2]
        return path.partition("/access-policies")[0]

    # --- add-ons

    def describe_addon_versions(self) -> ActionResult:
        """DescribeAddonVersions: each version of Kubernetes has one of each add-on, which is the default."""
        wanted = self.querystring
        versions = wanted.get("kubernetesVersion") or list(eks_versions.SUPPORT)
        found = addons.versions([wanted["addonName"][0]] if "addonName" in wanted else list(addons.NAMES), versions)
        return ActionResult({"addons": found})

    def create_addon(self) -> ActionResult:
        """CreateAddon."""
        return ActionResult({"addon": self._addons().create(self._wanted(*addons.KEPT, "addonName"))})

    def describe_addon(self) -> ActionResult:
        """DescribeAddon."""
        return ActionResult({"addon": self._addons().get(self._get_param("addonName"))})

    def list_addons(self) -> ActionResult:
        """ListAddons, in one page."""
        return ActionResult({"addons": self._addons().names()})

    def update_addon(self) -> ActionResult:
        """UpdateAddon."""
        update = self._addons().update(self._get_param("addonName"), self._wanted(*addons.KEPT))
        self._cluster().updates[update["id"]] = update
        return ActionResult({"update": update})

    def delete_addon(self) -> ActionResult:
        """DeleteAddon."""
        return ActionResult({"addon": self._addons().delete(self._get_param("addonName"))})

    def _addons(self) -> addons.Addons:
        found: addons.Addons = self._cluster().addons
        return found
