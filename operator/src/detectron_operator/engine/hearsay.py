"""Asks for what is said of a pod in events: a tenant's, as many and as large as he likes."""

from __future__ import annotations

import logging

from detectron_operator import complaints
from detectron_operator.complaints import Complaint
from detectron_operator.kube.client import Client
from detectron_operator.kube.errors import TooLargeError
from detectron_operator.kube.objects import EVENTS

logger = logging.getLogger(__name__)


async def complaint_of(client: Client, namespace: str, uid: str) -> Complaint | None:
    """What was said last of a pod.

    Recorders of events fold those that repeat, stop at some dozens a pod, and put the time into names: so
    what is beyond a glance is nothing that any of them has posted.

    Raises:
        KubeError: the API server did not answer.
    """
    try:
        said = await client.glance(EVENTS, complaints.read, namespace, complaints.selector(uid))
    except TooLargeError as error:
        logger.debug("what is said of pod %s is not read: %s", uid, error)
        return None
    return complaints.latest(said)
