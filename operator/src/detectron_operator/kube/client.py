"""The verbs that the operator uses, over the official client's REST layer.

The generated API classes validate every pod into model objects and back. The operator renders and reads plain
objects, so it takes from the client what is worth having (credentials and their refresh, TLS, the connection
pool) and skips the models: a create costs less than half the CPU time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar, cast
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration

from detectron_operator import bounded
from detectron_operator.kube import credentials, errors
from detectron_operator.kube.clock import Clock
from detectron_operator.kube.gate import Gate, Priority
from detectron_operator.kube.objects import EVENTS, Key, Object, Resource
from detectron_operator.kube.ratelimit import RateLimit

PAGE = 500
"""Objects a LIST asks for at once."""
GLANCE, GLANCE_BYTES = 200, 2**20
"""Objects, and bytes of them, that a `glance` takes in: tenants choose how many and how large they are."""
FRESH_STARTS = 3
"""How often a LIST begins anew because the API server has forgotten where it was."""
CONNECTIONS = 32
"""Requests under way at once. More only queue in the API server's priority levels instead of here."""
KEEPALIVE = 75.0
"""Seconds that an idle connection stays open, as a TLS handshake costs more than the request; the API server
itself closes it after 90."""

T = TypeVar("T")
Observe = Callable[[str, str, str], None]
"""Told verb, resource and status code (or `error`) of every request."""
_READS = frozenset({"get", "list"})


@dataclass(frozen=True)
class Listing(Generic[T]):
    """All objects of a resource at one version, each reduced to what was asked for."""

    items: Sequence[T]
    version: int


class Client:
    """A connection to one API server. Use it as an async context manager.

    Every method raises `errors.KubeError`.

    Args:
        observe: told of every request.
        clock: hears the time that every answer tells.
        timeout: seconds after which an unanswered request counts as failed.
        may_write: asked right before each write; one that is forbidden is not sent.
    """

    def __init__(
        self,
        configuration: Configuration,
        limit: RateLimit,
        observe: Observe,
        clock: Clock,
        timeout: float,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self._api = ApiClient(configuration)
        self._api.user_agent = "detectron-operator"
        self._limit = limit
        self._observe = observe
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._may_write = may_write
        self._gate = Gate(CONNECTIONS)

    async def __aenter__(self) -> Client:
        connector = aiohttp.TCPConnector(
            limit=CONNECTIONS,
            keepalive_timeout=KEEPALIVE,
            ssl=self._api.rest_client.ssl_context,
        )
        self._connector = connector
        self._api.configuration.client_session_kwargs = {"connector": connector, "trust_env": False}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._api.close()
        await self._connector.close()

    @property
    def server(self) -> str:
        """The API server's URL."""
        return str(self._api.configuration.host)

    async def watching_session(self, on_list: Callable[[], None]) -> aiohttp.ClientSession:
        """A session for kopf's watches, as `credentials.watching_session` describes it."""
        tls = self._api.rest_client.ssl_context
        return await credentials.watching_session(self._api.configuration, tls, on_list)

    async def serves(self, resource: Resource) -> bool:
        """Whether the API server knows the resource."""
        path = f"/apis/{resource.group}/{resource.version}"
        try:
            found = await self._request("get", resource, path, f"get {path}")
        except errors.NotFoundError:
            return False
        resources = cast("list[Mapping[str, object]]", found["resources"])
        return any(item["name"] == resource.plural for item in resources)

    async def get(self, resource: Resource, key: Key) -> Object:
        """One object."""
        return await self._request("get", resource, resource.path(*key), f"get {resource.plural} {key}")

    async def list(
        self,
        resource: Resource,
        reduced: Callable[[Object], T | None],
        namespace: str | None = None,
        selector: str = "",
        fields: str = "",
    ) -> Listing[T]:
        """All objects of a namespace, or of all, that match both selectors, in pages of one version.

        Args:
            reduced: what to keep of an object, if anything; no more than a page of whole ones is held at once
        """
        query = {"limit": str(PAGE)} | _chosen(selector, fields)
        items: list[T] = []
        what = f"list {resource.plural} in {namespace or 'all namespaces'}"
        fresh_starts = 0
        while True:
            try:
                page = await self._request("list", resource, resource.path(namespace), what, query=query)
            except errors.GoneError:
                # Pages of another version do not fit those that are here.
                fresh_starts += 1
                if "continue" not in query or fresh_starts > FRESH_STARTS:
                    raise
                items.clear()
                del query["continue"]
                continue
            items += _reduced(page, reduced)
            meta = cast("Mapping[str, str]", page["metadata"])
            if not meta.get("continue"):
                return Listing(items, int(meta["resourceVersion"]))
            query["continue"] = meta["continue"]
            del page

    async def glance(
        self,
        resource: Resource,
        reduced: Callable[[Object], T | None],
        namespace: str,
        fields: str,
    ) -> Sequence[T]:
        """The first `GLANCE` objects of a namespace that match; for what anybody may make any number of.

        Raises:
            errors.TooLargeError: they have more than `GLANCE_BYTES`, and are not read.
        """
        query = {"limit": str(GLANCE)} | _chosen(fields=fields)
        what = f"list {resource.plural} in {namespace}"
        path = resource.path(namespace)
        page = await self._request("list", resource, path, what, query=query, at_most=GLANCE_BYTES)
        return _reduced(page, reduced)

    async def create(
        self, resource: Resource, namespace: str, manifest: Object, sender: Key | None = None
    ) -> Object:
        """The object as stored. Raises `ConflictError` if the name is taken.

        Args:
            sender: for whom; what is sent for one waits its turn with what is sent for others.
        """
        meta = cast("Mapping[str, str]", manifest["metadata"])
        name = meta.get("name") or meta.get("generateName")
        what = f"create {resource.plural} {namespace}/{name}"
        path = resource.path(namespace)
        return await self._request("create", resource, path, what, body=manifest, sender=sender)

    async def delete(
        self,
        resource: Resource,
        key: Key,
        uid: str,
        grace_seconds: int | None = None,
        version: int | None = None,
        sender: Key | None = None,
    ) -> Object | None:
        """Ask for the deletion of this very object, of this very version where one is given.

        None if it is gone already, or another one now. `sender` is as in `create`.
        """
        preconditions = {"uid": uid} | ({} if version is None else {"resourceVersion": str(version)})
        body: dict[str, object] = {"preconditions": preconditions}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        what = f"delete {resource.plural} {key}"
        try:
            path = resource.path(*key)
            return await self._request("delete", resource, path, what, body=body, sender=sender)
        except (errors.NotFoundError, errors.ConflictError):
            return None

    async def patch(
        self, resource: Resource, key: Key, version: int, patch: Object, subresource: str | None = None
    ) -> Object:
        """Merge `patch` into the object if it still is at `version`; else raises `ConflictError`."""
        body = {**patch, "metadata": {"resourceVersion": str(version)}}
        plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
        what = f"patch {plural} {key}"
        return await self._request("patch", resource, resource.path(*key, subresource), what, body=body)

    async def _request(
        self,
        verb: str,
        resource: Resource,
        path: str,
        what: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        sender: Key | None = None,
        at_most: int | None = None,
    ) -> dict[str, object]:
        async with self._gate.passing(_priority(verb, resource), sender):
            await self._limit.acquire()
            if verb not in _READS and not self._may_write():
                raise errors.UnavailableError(what, 0, "not sent: this operator does not lead any more")
            return await self._send(verb, resource, path, what, query=query, body=body, at_most=at_most)

    async def _send(
        self,
        verb: str,
        resource: Resource,
        path: str,
        what: str,
        *,
        query: Mapping[str, str] | None,
        body: Object | None,
        at_most: int | None,
    ) -> dict[str, object]:
        method, url, headers, _, _ = await self._api.param_serialize(
            _METHODS[verb], path, header_params={"Accept": "application/json"}, auth_settings=["BearerToken"]
        )
        if verb == "patch":
            headers["Content-Type"] = "application/merge-patch+json"
        if query:
            url += "?" + urlencode(query)
        code = "error"
        asked = self._clock.monotonic()
        try:
            answer = await self._api.call_api(method, url, headers, body, _request_timeout=self._timeout)
            self._clock.hear(answer.headers.get("Date"), asked)
            code = str(answer.status)
            content = await bounded.body(answer.response, at_most)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise errors.UnavailableError(what, 0, f"{type(error).__name__}: {error}") from error
        except bounded.TooLargeError as error:
            raise errors.TooLargeError(what, answer.status, str(error)) from error
        finally:
            self._observe(verb, resource.plural, code)
        if answer.status >= errors.HTTP_ERROR:
            raise errors.from_response(what, answer.status, answer.headers, content)
        parsed: dict[str, object] = json.loads(content)
        return parsed


def _chosen(selector: str = "", fields: str = "") -> dict[str, str]:
    """The query of both selectors, as far as there are any."""
    chosen = {"labelSelector": selector, "fieldSelector": fields}
    return {name: value for name, value in chosen.items() if value}


def _reduced(page: Mapping[str, object], reduced: Callable[[Object], T | None]) -> list[T]:
    found = map(reduced, cast("Sequence[Object]", page["items"]))
    return [item for item in found if item is not None]


def _priority(verb: str, resource: Resource) -> Priority:
    if verb == "patch":
        return Priority.TELL
    return Priority.REMARK if resource == EVENTS else Priority.ACT


_METHODS = {"get": "GET", "list": "GET", "create": "POST", "delete": "DELETE", "patch": "PATCH"}
