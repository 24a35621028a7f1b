"""Where the API server is and who the operator is to it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from detectron_operator.kube.objects import JOBS, PODS

WATCH_BUFFER = 16 * 2**10
"""Bytes of a watch that are taken in at once, roughly: some events."""


async def load(environ: Mapping[str, str]) -> Configuration:
    """The pod's service account in a cluster, else the kubeconfig (`KUBECONFIG` or ~/.kube/config).

    Raises:
        config.ConfigException: neither is there or readable.
    """
    configuration = Configuration()
    if "KUBERNETES_SERVICE_HOST" in environ:
        config.load_incluster_config(configuration)
    else:
        await config.load_kube_config(environ.get("KUBECONFIG"), client_configuration=configuration)
    configuration.proxy = configuration.proxy or proxy_for(configuration.host)
    return configuration


def proxy_for(server: str) -> str | None:
    """The proxy that the environment names for this server.

    aiohttp would look it up again for each request, in a thread, and read ~/.netrc as well, which is as much
    work as the request itself.
    """
    parts = urlsplit(server)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


async def watching_session(
    configuration: Configuration, tls: ssl.SSLContext, on_list: Callable[[], None]
) -> aiohttp.ClientSession:
    """A session for kopf's watches, with the same credentials.

    Args:
        on_list: called whenever a watch of jobs or pods has begun with a new list. Of what was deleted before
            that list no watch event will tell.
    """

    async def finished(
        _session: aiohttp.ClientSession, _context: object, params: aiohttp.TraceRequestEndParams
    ) -> None:
        lists = params.method == "GET" and "watch" not in params.url.query
        if lists and params.url.name in (JOBS.plural, PODS.plural):
            on_list()

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(finished)
    token = await configuration.get_api_key_with_prefix("BearerToken")
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=tls, socket_factory=_small_socket),
        headers={"Authorization": token} if token else None,
        proxy=configuration.proxy,
        trace_configs=[trace],
    )


def _small_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """Holds little: kopf reads at once all that there is, and nothing else is done meanwhile."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WATCH_BUFFER)
    return made
