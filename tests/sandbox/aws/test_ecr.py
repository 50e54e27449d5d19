"""ECR shows the images of the registry beside it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.emulator import ACCOUNT, REGION, Call, Emulator, Endpoint, running, serving
from tests.support.certificates import Authority

KIND = "application/vnd.oci.image.manifest.v1+json"


class Registry:
    """The part of a registry that answers for one repository."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.manifests: dict[str, bytes] = {}
        endpoint.answer = self.answer

    def push(self, tag: str, size: int) -> str:
        manifest = {"mediaType": KIND, "config": {"size": 10}, "layers": [{"size": size}]}
        self.manifests[tag] = json.dumps(manifest).encode()
        return self.digest(self.manifests[tag])

    @staticmethod
    def digest(manifest: bytes) -> str:
        return f"sha256:{hashlib.sha256(manifest).hexdigest()}"

    def answer(self, call: Call) -> tuple[int, Any]:
        login = base64.b64decode(call.headers.get("authorization", "").removeprefix("Basic ")).decode()
        if login != f"AWS:{ACCOUNT}-auth-token":
            return 401, {}
        if call.path == "/v2/iot-receiver/tags/list":
            return (200, {"tags": list(self.manifests)}) if self.manifests else (404, {})
        reference = call.path.removeprefix("/v2/iot-receiver/manifests/")
        if call.method == "DELETE":
            self.manifests = {t: m for t, m in self.manifests.items() if self.digest(m) != reference}
            return 202, {}
        if reference not in self.manifests:
            return 404, {}
        manifest = self.manifests[reference]
        return 200, (manifest, {"Content-Type": KIND, "Docker-Content-Digest": self.digest(manifest)})


@pytest.fixture(name="registry")
def _registry(endpoint: Endpoint) -> Registry:
    return Registry(endpoint)


@pytest.fixture(name="ecr")
def _ecr(tmp_path: Path, aws_authority: Authority, registry: Registry, endpoint: Endpoint) -> Iterator[Any]:
    with running(tmp_path, aws_authority, REGISTRY_URL=endpoint.url) as emulator:
        yield emulator.client("ecr")


def test_images_are_the_registrys(ecr: Any, registry: Registry, endpoint: Endpoint) -> None:
    made = ecr.create_repository(repositoryName="iot-receiver")["repository"]
    assert made["repositoryUri"] == f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/iot-receiver"
    assert ecr.describe_images(repositoryName="iot-receiver")["imageDetails"] == []
    with pytest.raises(ecr.exceptions.ImageNotFoundException):
        ecr.describe_images(repositoryName="iot-receiver", imageIds=[{"imageTag": "v1"}])
    digest = registry.push("v1", 90)
    registry.manifests["latest"] = registry.manifests["v1"]
    other = registry.push("v2", 91)
    image = ecr.describe_images(repositoryName="iot-receiver", imageIds=[{"imageTag": "v1"}])["imageDetails"][0]
    assert (image["imageDigest"], image["imageSizeInBytes"]) == (digest, 100)
    assert sorted(image["imageTags"]) == ["latest", "v1"]
    listed = {(i["imageTag"], i["imageDigest"]) for i in ecr.list_images(repositoryName="iot-receiver")["imageIds"]}
    assert listed == {("latest", digest), ("v1", digest), ("v2", other)}
    got = ecr.batch_get_image(repositoryName="iot-receiver", imageIds=[{"imageTag": "v2"}, {"imageTag": "v3"}])
    assert json.loads(got["images"][0]["imageManifest"])["layers"] == [{"size": 91}]
    assert got["failures"][0]["failureCode"] == "ImageNotFound"
    with pytest.raises(ClientError, match="RepositoryNotEmptyException"):
        ecr.delete_repository(repositoryName="iot-receiver")
    ecr.batch_delete_image(repositoryName="iot-receiver", imageIds=[{"imageDigest": digest}])
    assert list(registry.manifests) == ["v2"]
    ecr.delete_repository(repositoryName="iot-receiver", force=True)
    assert registry.manifests == {}


def test_login_is_the_registrys(ecr: Any) -> None:
    data = ecr.get_authorization_token()["authorizationData"][0]
    assert base64.b64decode(data["authorizationToken"]).decode() == f"AWS:{ACCOUNT}-auth-token"
    assert data["proxyEndpoint"] == f"https://{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"


def test_registry_that_is_down_is_no_error(tmp_path: Path, aws_authority: Authority) -> None:
    with serving(aws_authority) as gone:
        url = gone.url
    emulator: Emulator
    with running(tmp_path, aws_authority, REGISTRY_URL=url) as emulator:
        ecr = emulator.client("ecr")
        ecr.create_repository(repositoryName="iot-receiver")
        assert ecr.list_images(repositoryName="iot-receiver")["imageIds"] == []
