"""CRDs of a chart, against an API server that has their defaults and notes who applied them."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.iotweb.deployment.plugins.modules import chart_crds

NAME = "examples.charts.test"
SCHEMA = {"openAPIV3Schema": {"type": "object"}}
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": NAME, "annotations": {"version": "1"}},
    "spec": {
        "group": "charts.test", "scope": "Namespaced", "names": {"kind": "Example", "plural": "examples"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": SCHEMA}],
    },
}  # fmt: skip
Apply = Callable[..., dict[str, Any]]


class Cluster:
    """The CRDs that are there, and the names of those that were applied."""

    def __init__(self) -> None:
        self.there: dict[str, dict[str, Any]] = {}
        self.applied: list[str] = []

    def apply(self, name: str, crd: dict[str, Any], *, dry_run: bool) -> dict[str, Any]:
        """What a server-side apply answers."""
        self.applied.append(name)
        names = {"singular": "example", "listKind": "ExampleList", **crd["spec"]["names"]}
        metadata = {**crd["metadata"], "managedFields": [{"manager": "ansible", "operation": "Apply"}]}
        spec = {**crd["spec"], "names": names, "conversion": {"strategy": "None"}}
        status = {"conditions": [{"type": "Established", "status": "True"}]}
        after = {**crd, "metadata": metadata, "spec": spec, "status": status}
        if not dry_run:
            self.there[name] = after
        return after


@pytest.fixture(name="cluster")
def _cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer({"items": list(cluster.there.values())})

        def do_PATCH(self) -> None:
            path, _, query = self.path.partition("?")
            crd = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(cluster.apply(path.rpartition("/")[2], crd, dry_run="dryRun" in query))

        def answer(self, content: Any) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: Any) -> None:
            """Keep the tests' output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "kubeconfig").write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }))  # fmt: skip
        yield cluster
        server.shutdown()


@pytest.fixture(name="apply")
def _apply(tmp_path: Path) -> Apply:
    """Run the module for a chart that holds these CRDs."""

    def apply(*crds: dict[str, Any], check: bool = False) -> dict[str, Any]:
        helm = tmp_path / "helm"
        helm.write_text(f"#!/bin/sh\ncat <<'END'\n{yaml.safe_dump_all(crds) if crds else ''}END\n")
        helm.chmod(0o755)
        kubeconfig, printed = str(tmp_path / "kubeconfig"), StringIO()
        arguments = {"kubeconfig": kubeconfig, "helm": str(helm), "chart": "x", "_ansible_check_mode": check}
        with patch_module_args(arguments), redirect_stdout(printed), pytest.raises(SystemExit):
            chart_crds.main()
        result: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
        assert not result.get("failed"), result["msg"]
        return result

    return apply


def changed(**metadata: Any) -> dict[str, Any]:
    """The CRD with other metadata."""
    return {**CRD, "metadata": {**CRD["metadata"], **metadata}}


def test_they_are_applied_once(cluster: Cluster, apply: Apply) -> None:
    assert apply(CRD, check=True)["applied"] == [NAME]
    assert not cluster.there
    assert apply(CRD)["applied"] == [NAME]
    cluster.applied.clear()
    again = apply(CRD)
    assert (again["changed"], again["crds"], again["applied"]) == (False, [NAME], [])
    assert cluster.applied == []


def test_one_of_another_chart_is_applied(cluster: Cluster, apply: Apply) -> None:
    apply(CRD)
    assert apply(changed(annotations={"version": "2"}))["applied"] == [NAME]
    assert cluster.there[NAME]["metadata"]["annotations"] == {"version": "2"}


def test_what_somebody_changed_is_restored(cluster: Cluster, apply: Apply) -> None:
    apply(CRD)
    cluster.there[NAME]["spec"]["versions"][0]["served"] = False
    assert apply(CRD, check=True)["applied"] == [NAME]
    assert apply(CRD)["applied"] == [NAME]
    assert cluster.there[NAME]["spec"]["versions"][0]["served"] is True


@pytest.mark.parametrize("managed", [[], [{"manager": "helm", "operation": "Update"}]])
def test_somebody_elses_is_taken_over(cluster: Cluster, apply: Apply, managed: list[dict[str, str]]) -> None:
    apply(CRD)
    cluster.there[NAME]["metadata"]["managedFields"] = managed
    cluster.applied.clear()
    assert apply(CRD)["changed"] is False
    assert cluster.applied == [NAME]


def test_a_chart_without_crds_asks_no_cluster(apply: Apply) -> None:
    assert apply()["crds"] == []
