"""The API server's REST interface for tests, as plain objects."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes import config

Object = dict[str, Any]


class ApiError(RuntimeError):
    """The API server answered with an error."""

    def __init__(self, what: str, code: int, message: str) -> None:
        super().__init__(f"{what}: {code}: {message}")
        self.code = code


class Api:
    """One user's access to an API server.

    Args:
        kubeconfig: who and where.
        namespace: the one that short paths are in.
        retries: how a request is tried again, by default as urllib3 does: also after the pause that a server
            which is not ready asks for.
    """

    def __init__(
        self, kubeconfig: Path, namespace: str = "default", retries: urllib3.Retry | None = None
    ) -> None:
        self._client = config.new_client_from_config(str(kubeconfig))
        self._retries = retries
        self.namespace = namespace

    def request(
        self, method: str, path: str, body: Object | None = None, kind: str = "application/json"
    ) -> Object:
        """The parsed answer.

        Raises:
            ApiError: the status is 400 or more.
        """
        answer = self._client.rest_client.pool_manager.request(
            method,
            self._client.configuration.host + path,
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": kind},
            retries=self._retries,
        )
        content: Object = json.loads(answer.data)
        if answer.status >= 400:
            raise ApiError(f"{method} {path}", answer.status, str(content.get("message")))
        return content

    def list(self, plural: str, selector: str = "") -> list[Object]:
        """All objects of a resource in the namespace, by name."""
        query = "?" + urlencode({"labelSelector": selector}) if selector else ""
        items = self.request("GET", self.path(plural) + query)["items"]
        return sorted(items, key=lambda item: str(item["metadata"]["name"]))

    def get(self, plural: str, name: str) -> Object:
        """One object."""
        return self.request("GET", self.path(plural, name))

    def find(self, plural: str, name: str) -> Object | None:
        """One object, None if it is not there."""
        try:
            return self.get(plural, name)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def create(self, plural: str, manifest: Object) -> Object:
        """Create an object in the namespace."""
        return self.request("POST", self.path(plural), manifest)

    def merge(self, plural: str, name: str, patch: Object, subresource: str = "") -> Object:
        """Merge a patch into an object."""
        path = self.path(plural, name, subresource)
        return self.request("PATCH", path, patch, "application/merge-patch+json")

    def delete(self, plural: str, name: str, **options: object) -> None:
        """Ask for an object's deletion."""
        self.request("DELETE", self.path(plural, name), dict(options))

    def path(self, plural: str, name: str = "", subresource: str = "") -> str:
        """The path of a resource in the namespace."""
        groups = {"detectrontrainingjobs": "/apis/detectron.dev/v1alpha1"}
        rest = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{groups.get(plural, '/api/v1')}/namespaces/{self.namespace}/{plural}{rest}"
