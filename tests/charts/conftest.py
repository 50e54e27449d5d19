"""A Kubernetes control plane without nodes, from the programs that the sandbox has built, and charts to install."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.paths import CACHE, PROGRAMS, ROOT
from tests.support.ports import free_port

BESIDE = ROOT.parent / "shared" / "charts"
KEPT = CACHE / "chart-archives"
REPOSITORY = "https://aws.github.io/eks-charts"
TOKEN = "of-the-tests-alone"


@dataclass(frozen=True)
class Cluster:
    """A cluster's kubeconfig, and commands on it."""

    kubeconfig: Path

    def run(self, *command: str) -> str:
        """What kubectl or helm prints."""
        environment = os.environ | {"KUBECONFIG": str(self.kubeconfig)}
        return subprocess.run([PROGRAMS / command[0], *command[1:]], env=environment, text=True, capture_output=True,
                              check=True).stdout


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """etcd, API server and controllers. Without nodes no pod runs, so Deployments must ask for none."""
    if not (PROGRAMS / "kube-apiserver").exists():
        pytest.skip("Kubernetes is not on this machine: `make sandbox` builds it")
    folder = tmp_path_factory.mktemp("cluster")
    etcd, peers, api, controllers = (free_port() for _ in range(4))
    subprocess.run(["openssl", "genrsa", "-out", folder / "key", "2048"], check=True, capture_output=True)
    (folder / "tokens").write_text(f"{TOKEN},admin,admin,system:masters\n")
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {
            "server": f"https://127.0.0.1:{api}", "insecure-skip-tls-verify": True}}],
        "users": [{"name": "it", "user": {"token": TOKEN}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}]}))
    kubeconfig.chmod(0o600)
    commands = [
        ["etcd", f"--data-dir={folder}/etcd", "--unsafe-no-fsync", "--log-level=warn",
         f"--listen-client-urls=http://127.0.0.1:{etcd}", f"--advertise-client-urls=http://127.0.0.1:{etcd}",
         f"--listen-peer-urls=http://127.0.0.1:{peers}", f"--initial-advertise-peer-urls=http://127.0.0.1:{peers}",
         f"--initial-cluster=default=http://127.0.0.1:{peers}"],
        ["kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd}", "--bind-address=127.0.0.1",
         f"--secure-port={api}", f"--cert-dir={folder}/certificates", f"--token-auth-file={folder}/tokens",
         "--service-account-issuer=https://tests", f"--service-account-key-file={folder}/key",
         f"--service-account-signing-key-file={folder}/key", "--service-cluster-ip-range=10.97.0.0/16",
         "--authorization-mode=RBAC"],
        ["kube-controller-manager", f"--kubeconfig={kubeconfig}", f"--service-account-private-key-file={folder}/key",
         "--leader-elect=false", "--bind-address=127.0.0.1", f"--secure-port={controllers}"],
    ]
    processes = []
    try:
        for command in commands:
            with (folder / f"{command[0]}.log").open("w") as log:
                processes.append(subprocess.Popen([PROGRAMS / command[0], *command[1:]], stdout=log, stderr=log,
                                                  cwd=folder))
            if command[0] == "kube-apiserver":
                wait_for(Cluster(kubeconfig), folder / "kube-apiserver.log")
        yield Cluster(kubeconfig)
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def wait_for(cluster: Cluster, log: Path) -> None:
    """Wait until the API server is ready."""
    give_up = time.monotonic() + 60
    while True:
        try:
            cluster.run("kubectl", "get", "--raw", "/readyz")
        except subprocess.CalledProcessError:
            assert time.monotonic() < give_up, log.read_text()[-2000:]
            time.sleep(0.3)
        else:
            return


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The archive of a version of the controller's chart, from this machine or the chart's repository."""
    folder = tmp_path_factory.mktemp("charts")

    def archive(version: str) -> Path:
        name = f"aws-load-balancer-controller-{version}.tgz"
        for place in (BESIDE, KEPT, folder):
            if (place / name).exists():
                return place / name
        pull = ["timeout", "20", str(PROGRAMS / "helm"), "pull", "aws-load-balancer-controller",
                "--repo", REPOSITORY, "--version", version, "--destination", str(folder)]
        if subprocess.run(pull, capture_output=True, check=False).returncode:
            pytest.skip(f"the controller's chart {version} cannot be fetched from {REPOSITORY}")
        return folder / name

    return archive
