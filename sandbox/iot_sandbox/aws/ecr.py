"""ECR whose images are those of the real registry beside it.

Tags and digests are read from the registry (OCI distribution API) whenever an image call is made, so what was
pushed there is what DescribeImages shows: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/
"""

from __future__ import annotations

import base64
import http.client
import json
import logging
import ssl
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Lock
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from moto.core.responses import ActionResult
from moto.ecr import models, urls
from moto.ecr.models import ECRBackend, Image
from moto.ecr.responses import ECRResponse

from iot_sandbox.aws import settings

log = logging.getLogger(__name__)
TIMEOUT_SECONDS = 5.0
TOKEN_LIFETIME = timedelta(hours=12)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"
)

Manifest = tuple[str, str, str]  # digest, media type, text


def password(account_id: str) -> str:
    """The password of user AWS: the registry's, or moto's if none is configured."""
    file = settings.current().registry_token_file
    if file and file.exists():
        return file.read_text(encoding="utf-8").strip()
    return f"{account_id}-auth-token"


class RegistryImage(Image):
    """An image in the registry."""

    size: int | None = None

    def get_image_size_in_bytes(self) -> int | None:
        """Sum of the compressed layers and the configuration, as ECR counts."""
        return self.size


class Registry:
    """The few calls to a registry that ECR's image calls need.

    https://github.com/opencontainers/distribution-spec/blob/main/spec.md
    """

    def __init__(self, url: str, account_id: str) -> None:
        self._url = urlsplit(url)
        self._account_id = account_id

    def tags(self, repository: str) -> list[str]:
        """Tags of a repository; none if nothing was ever pushed to it."""
        status, _, body = self._call("GET", f"/v2/{repository}/tags/list")
        return sorted(json.loads(body).get("tags") or []) if status == 200 else []

    def manifest(self, repository: str, tag: str) -> Manifest | None:
        """Digest, media type and text of a tag's manifest."""
        status, headers, body = self._call("GET", f"/v2/{repository}/manifests/{tag}")
        if status != 200:
            return None
        return headers["docker-content-digest"], headers.get("content-type", ""), body.decode()

    def delete(self, repository: str, digest: str) -> None:
        """Delete a manifest and so its tags; a registry that does not allow it keeps them."""
        self._call("DELETE", f"/v2/{repository}/manifests/{digest}")

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme != "https":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
        bundle = settings.current().ca_bundle
        context = ssl.create_default_context(cafile=str(bundle) if bundle else None)
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=context)

    def _call(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        connection = self._connection()
        login = base64.b64encode(f"AWS:{password(self._account_id)}".encode()).decode()
        with closing(connection):
            connection.request(method, path, headers={"Accept": MANIFESTS, "Authorization": f"Basic {login}"})
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()


class SandboxECRBackend(ECRBackend):
    """ECR of one account and region."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        url = settings.current().registry_url
        self._registry = Registry(url, account_id) if url else None
        self._lock = Lock()

    @property
    def _url_module(self) -> ModuleType:
        return urls

    def list_images(self, repository_name: str, *arguments: Any, **options: Any) -> list[Image]:
        """ListImages."""
        self._synchronize(repository_name)
        return super().list_images(repository_name, *arguments, **options)

    def describe_images(self, repository_name: str, *arguments: Any, **options: Any) -> Any:
        """DescribeImages."""
        self._synchronize(repository_name)
        return super().describe_images(repository_name, *arguments, **options)

    def batch_get_image(self, repository_name: str, *arguments: Any, **options: Any) -> dict[str, Any]:
        """BatchGetImage."""
        self._synchronize(repository_name)
        return super().batch_get_image(repository_name, *arguments, **options)

    def batch_delete_image(self, repository_name: str, *arguments: Any, **options: Any) -> dict[str, Any]:
        """BatchDeleteImage: an image whose last tag goes is deleted from the registry."""
        self._synchronize(repository_name)
        before = self._digests(repository_name)
        answer = super().batch_delete_image(repository_name, *arguments, **options)
        for digest in before - self._digests(repository_name):
            if self._registry:
                self._registry.delete(repository_name, digest)
        return answer

    def delete_repository(self, repository_name: str, registry_id: str | None = None, force: bool = False) -> Any:
        """DeleteRepository: refused while the registry has images, unless forced."""
        self._synchronize(repository_name)
        digests = self._digests(repository_name)
        repository = super().delete_repository(repository_name, registry_id, force)
        for digest in digests:
            if self._registry:
                self._registry.delete(repository_name, digest)
        return repository

    def _digests(self, repository_name: str) -> set[str]:
        repository = self.repositories.get(repository_name)
        return {image.get_image_digest() for image in repository.images} if repository else set()

    def _synchronize(self, repository_name: str) -> None:
        """Copy the registry's images into moto; while the registry is down, the last ones remain."""
        repository = self.repositories.get(repository_name)
        if not repository or not self._registry:
            return
        try:
            found: dict[str, RegistryImage] = {}
            for tag in self._registry.tags(repository_name):
                manifest = self._registry.manifest(repository_name, tag)
                if manifest:
                    self._add(found, repository_name, tag, manifest)
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            log.warning("the registry of repository %s does not answer: %r", repository_name, error)
            return
        with self._lock:
            pushed = {image.get_image_digest(): image.image_pushed_at for image in repository.images}
            for digest, image in found.items():
                image.image_pushed_at = pushed.get(digest, image.image_pushed_at)
            repository.images[:] = found.values()

    def _add(self, found: dict[str, RegistryImage], name: str, tag: str, manifest: Manifest) -> None:
        digest, kind, text = manifest
        if digest in found:
            found[digest].update_tag(tag)
            return
        image = RegistryImage(self.account_id, tag, text, name, kind, digest)
        content = json.loads(text)
        parts = [content.get("config") or {}, *(content.get("layers") or [])]
        image.size = sum(int(part.get("size") or 0) for part in parts)
        found[digest] = image


class SandboxECRResponse(ECRResponse):
    """One request to ECR."""

    def get_authorization_token(self) -> ActionResult:
        """GetAuthorizationToken: user AWS with the registry's password, for twelve hours."""
        data = [
            {
                "authorizationToken": base64.b64encode(f"AWS:{password(registry)}".encode()).decode(),
                "expiresAt": datetime.now(UTC) + TOKEN_LIFETIME,
                "proxyEndpoint": f"https://{registry}.dkr.ecr.{self.region}.amazonaws.com",
            }
            for registry in self._get_param("registryIds") or [self.current_account]
        ]
        return ActionResult({"authorizationData": data})


def install() -> None:
    """Replace moto's backend and call."""
    models.ecr_backends.backend = SandboxECRBackend
    urls.url_paths["{0}/$"] = SandboxECRResponse.dispatch
