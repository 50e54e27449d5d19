#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: chart_crds
version_added: 2.0.0
short_description: Apply the CRDs of a Helm chart and its dependencies
description:
  - Reads the CRDs that C(helm show crds) prints and applies them server-side, since some are longer than the annotation
    that a client-side apply would keep them in (262,144 bytes). Waits until the API server serves them.
  - Leaves out those that an earlier run applied and nobody has changed since, as an apply takes a third of a second.
  - The modules of kubernetes.core cannot read those of the Prometheus operator, whose lists hold the plain scalar C(=),
    for which PyYAML has a type but no constructor.
author:
  - IoT receiver contributors (@iotweb)
options:
  kubeconfig: {description: File of the cluster's address and credentials., type: path, required: true}
  helm: {description: The helm program., type: str, default: helm}
  chart: {description: The chart's name in its repository or a path of a folder or archive., type: str, required: true}
  repository: {description: URL of the repository; empty for a path., type: str, default: ""}
  version: {description: The chart's version in the repository., type: str, default: ""}
  timeout: {description: The longest to wait for the API server to serve them in seconds., type: int, default: 60}
extends_documentation_fragment:
  - iotweb.aws_iot.attributes
"""

EXAMPLES = r"""
- name: Apply the chart's CRDs
  iotweb.deployment.chart_crds: {kubeconfig: ~/.kube/config, chart: /srv/charts/kube-prometheus-stack-88.5.3.tgz}
"""

RETURN = r"""
crds: {description: Names of all of them., type: list, elements: str, returned: always}
applied: {description: Names of those that were not there or differed., type: list, elements: str, returned: always}
"""

import contextlib
import json
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

with contextlib.suppress(ImportError):  # preflight names the library
    import yaml

MANAGER = "ansible"
APPLY = "application/apply-patch+yaml"
PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def yaml_loader() -> Any:
    """YAML 1.1 whose `=` is a string; libyaml's where it is there, which is ten times as fast."""
    loader: Any = type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
    loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))
    return loader


def show(module: AnsibleModule) -> list[dict[str, Any]]:
    """The chart's CRDs by name."""
    command = [module.params["helm"], "show", "crds", module.params["chart"]]
    for option, flag in (("repository", "--repo"), ("version", "--version")):
        command += [flag, module.params[option]] if module.params[option] else []
    status, out, error = module.run_command(command)
    if status:
        module.fail_json(msg=f"The CRDs of {module.params['chart']} can't be read: {error.strip()}")
    found = [document for document in yaml.load_all(out, yaml_loader()) if document]
    return sorted(found, key=lambda crd: str(crd["metadata"]["name"]))


def content(crd: dict[str, Any] | None) -> dict[str, Any]:
    """What an apply decides: neither the server's notes nor who wrote which member."""
    if crd is None:
        return {}
    kept = ("labels", "annotations")
    metadata = {key: crd["metadata"].get(key) or {} for key in kept}
    return {"metadata": metadata, "spec": crd["spec"]}


def with_defaults(crd: dict[str, Any]) -> dict[str, Any]:
    """A CRD with what the API server adds: SetDefaults_CustomResourceDefinitionSpec of apiextensions-apiserver."""
    spec, kind = crd["spec"], crd["spec"]["names"]["kind"]
    names = {"singular": kind.lower(), "listKind": f"{kind}List", **spec["names"]}
    return {**crd, "spec": {"conversion": {"strategy": "None"}, **spec, "names": names}}


def stands(crd: dict[str, Any], there: dict[str, Any] | None) -> bool:
    """Whether an apply of ours made what is there, so that another changes nothing."""
    if there is None or content(there) != content(with_defaults(crd)):
        return False
    managed = there["metadata"].get("managedFields") or []
    return any((each["manager"], each["operation"]) == (MANAGER, "Apply") for each in managed)


def is_served(crd: dict[str, Any] | None) -> bool:
    """Whether the API server answers for a CRD's kind."""
    conditions = crd["status"].get("conditions") or [] if crd else []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


class Cluster:
    """The CRDs of a cluster. Plain requests, as the client's typed ones know no server-side apply."""

    def __init__(self, kubeconfig: str) -> None:
        from kubernetes.config import new_client_from_config  # noqa: PLC0415 - takes half a second, and most charts have no CRDs

        self.client = new_client_from_config(config_file=kubeconfig)

    def request(self, method: str, name: str = "", body: Any = None, **query: str) -> dict[str, Any]:
        """One request. Raises ApiException."""
        answer: dict[str, Any] = self.client.call_api(
            f"{PATH}/{name}".rstrip("/"), method, query_params=list(query.items()), body=body,
            header_params={"Accept": "application/json", "Content-Type": APPLY}, response_type="object",
            auth_settings=["BearerToken"], _return_http_data_only=True,
        )
        return answer

    def there(self) -> dict[str, dict[str, Any]]:
        """All of them by name."""
        return {crd["metadata"]["name"]: crd for crd in self.request("GET")["items"]}

    def apply(self, crd: dict[str, Any], dry_run: bool) -> dict[str, Any]:
        """Apply one, and return what it is, or would be, then."""
        query = {"fieldManager": MANAGER, "force": "true"} | ({"dryRun": "All"} if dry_run else {})
        return self.request("PATCH", crd["metadata"]["name"], crd, **query)


def bring(module: AnsibleModule, cluster: Cluster, crds: list[dict[str, Any]]) -> list[str]:
    """Apply what is missing or differs, wait until all are served, and return the names of those that changed."""
    there = cluster.there()
    applied = [crd for crd in crds if not stands(crd, there.get(crd["metadata"]["name"]))]
    after = {crd["metadata"]["name"]: cluster.apply(crd, module.check_mode) for crd in applied}
    changed = [name for name, crd in after.items() if content(there.get(name)) != content(crd)]
    if module.check_mode:
        return changed
    if applied:
        there = cluster.there()
    deadline = time.monotonic() + module.params["timeout"]
    while missing := [name for crd in crds if not is_served(there.get(name := crd["metadata"]["name"]))]:
        if time.monotonic() > deadline:
            module.fail_json(msg=f"The API server does not serve {', '.join(missing)}.")
        time.sleep(0.5)
        there = cluster.there()
    return changed


def reason(error: Any) -> str:
    """What the API server says, and what to make of it."""
    try:
        said = str(json.loads(error.body)["message"])
    except (KeyError, TypeError, ValueError):
        said = f"{error.status} {error.reason}"
    older = " The chart is older than the one that defined them here: take that one's version, or a newer one."
    return said + (older if "storedVersions" in said else "")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "helm": {"type": "str", "default": "helm"},
            "chart": {"type": "str", "required": True},
            "repository": {"type": "str", "default": ""},
            "version": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    crds = show(module)
    if not crds:
        module.exit_json(changed=False, crds=[], applied=[])
    from kubernetes.client import ApiException  # noqa: PLC0415 - takes half a second to load, and most charts have no CRDs
    try:
        changed = bring(module, Cluster(module.params["kubeconfig"]), crds)
    except ApiException as error:
        module.fail_json(msg=f"The API server refused the chart's CRDs: {reason(error)}")
    diff = {"prepared": "".join(f"+ {name}\n" for name in changed)}
    names = [crd["metadata"]["name"] for crd in crds]
    module.exit_json(changed=bool(changed), crds=names, applied=changed, diff=diff)


if __name__ == "__main__":
    main()
