"""Where the API server is and who the operator is to it."""

from __future__ import annotations

from collections.abc import Mapping

from kubernetes.aio import config
from kubernetes.aio.client import Configuration


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
    return configuration
