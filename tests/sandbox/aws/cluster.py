"""A stand-in for the cluster's API server: nodes, keys and discovery, with a kubeconfig that leads to it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.sandbox.aws.emulator import Call, Endpoint

ISSUER = "https://oidc.eks.us-east-2.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"


@dataclass
class Cluster:
    """`nodes` are Node objects by name; what is patched is merged into them."""

    endpoint: Endpoint
    kubeconfig: Path
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "k", "use": "sig"}))

    def add_node(self, name: str) -> None:
        self.nodes[name] = {"metadata": {"name": name, "labels": {}}, "spec": {}}

    def token(self, subject: str, **changes: Any) -> str:
        """A projected service account token."""
        claims = {"iss": ISSUER, "sub": subject, "aud": ["sts.amazonaws.com"], "exp": int(time.time()) + 600}
        return jwt.encode({"alg": "RS256", "kid": "k"}, claims | changes, self.key)

    def answer(self, call: Call) -> tuple[int, Any]:
        if call.path == "/.well-known/openid-configuration":
            return 200, {"issuer": ISSUER}
        if call.path == "/openid/v1/jwks":
            if "application/jwk-set+json" not in call.headers.get("accept", ""):
                return 406, {"kind": "Status"}  # as the real one
            return 200, {"keys": [self.key.as_dict(private=False)]}
        name = call.path.removeprefix("/api/v1/nodes/")
        if name not in self.nodes:
            return 404, {"kind": "Status"}
        if call.method == "PATCH":
            assert call.headers["content-type"] == "application/merge-patch+json"
            self.nodes[name]["spec"] |= call.json["spec"]
            self.nodes[name]["metadata"]["labels"] |= call.json["metadata"]["labels"]
        return 200, self.nodes[name]


def cluster_at(endpoint: Endpoint, authority: Path, folder: Path) -> Cluster:
    """Make the endpoint an API server; its kubeconfig is written into the folder."""
    kubeconfig = folder / "kubeconfig"
    cluster = Cluster(endpoint, kubeconfig)
    endpoint.answer = cluster.answer
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "admin"}}],
        "clusters": [{"name": "k", "cluster": {"server": endpoint.url, "certificate-authority": str(authority)}}],
        "users": [{"name": "admin", "user": {"token": "admin-token"}}],
    }
    kubeconfig.write_text(json.dumps(config))
    return cluster
