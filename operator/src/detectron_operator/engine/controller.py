"""One look at one job: plan from what the cache holds, then do what the plan says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from detectron_operator import labels, reasons
from detectron_operator.api import SpecError, parse
from detectron_operator.complaints import Complaint
from detectron_operator.engine import events
from detectron_operator.engine.cache import Cache, Entry, job_entry, pod_entry
from detectron_operator.engine.hearsay import complaint_of
from detectron_operator.engine.merge import merge_patch
from detectron_operator.engine.poller import Poller
from detectron_operator.engine.queue import WorkQueue
from detectron_operator.engine.reports import Reports
from detectron_operator.engine.untold import LOOK_AGAIN, Rush, Untold
from detectron_operator.kube.client import Client
from detectron_operator.kube.errors import (
    ConflictError,
    KubeError,
    NotFoundError,
    RefusedError,
)
from detectron_operator.kube.objects import EVENTS, JOBS, PODS, Key, Object, labels_of, metadata, resource_of
from detectron_operator.metrics import Metrics
from detectron_operator.observed import Pod
from detectron_operator.plan import CreateChild, Defaults, DeletePod, Event, Plan, Refusal, plan, plan_invalid

_TERMINAL = ("Succeeded", "Failed")

logger = logging.getLogger(__name__)


class ChildRefusedError(Exception):
    """The API server did not take a child; another try needs something else to change first."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.reason}: {refusal.message}")
        self.refusal = refusal


class Controller:
    """Executes plans.

    Args:
        client, cache, queue, poller, reports: the rest of the engine.
        defaults: what the settings say about every job.
        now: the time, with its zone.
        clock: monotonic seconds.
        instance: the operator's pod or host name, for events.
    """

    def __init__(
        self,
        client: Client,
        cache: Cache,
        queue: WorkQueue,
        poller: Poller,
        reports: Reports,
        defaults: Defaults,
        metrics: Metrics,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        instance: str,
    ) -> None:
        self._client = client
        self._cache = cache
        self._queue = queue
        self._poller = poller
        self._reports = reports
        self._defaults = defaults
        self._metrics = metrics
        self._now = now
        self._instance = instance
        self._rush = Rush(clock)
        self._untold = Untold(clock)

    def in_a_rush(self, job: Key) -> bool:
        """Whether children of other jobs are being created or deleted."""
        return self._rush.on(job)

    async def reconcile(self, key: Key) -> None:
        """Bring a job one step on.

        Raises:
            ChildRefusedError: a child was not taken; the status says so.
            ConflictError: the job changed meanwhile; the cache has it as it is now.
            KubeError: the API server did not do its part.
        """
        entry = self._cache.jobs.get(key)
        if entry is None:
            self._untold.forget(key)
            self._follow(key, None)
            return
        step = self._plan(entry)
        if self._rests_on_absence(entry, step):
            await self._list_pods(key)
            step = self._plan(entry)
        if step.look_into is not None:
            said = await complaint_of(self._client, key.namespace, step.look_into)
            step = self._plan(entry, complaint=(step.look_into, said))
        try:
            await self._execute(entry, step)
        except ChildRefusedError as refused:
            await self._tell(entry, self._plan(entry, refused.refusal))
            raise
        # Not before: what the job said last is needed until it is written.
        self._follow(key, step.poll)
        if step.requeue_after is not None:
            self._queue.add_after(key, step.requeue_after)

    def _plan(
        self,
        entry: Entry[Object],
        refusal: Refusal | None = None,
        complaint: tuple[str, Complaint | None] | None = None,
    ) -> Plan:
        now, pods = self._now(), self._cache.pods_of(entry.job, entry.meta.uid)
        try:
            job = parse(self._seen(entry))
        except SpecError as error:
            return plan_invalid(self._seen(entry), pods, error, now)
        if complaint is not None:
            pods = [_complained_of(pod, *complaint) for pod in pods]
        said, mute = self._reports.get(entry.job), self._reports.is_mute(entry.job)
        return plan(job, pods, said, now, self._defaults, refusal, mute=mute)

    def _seen(self, entry: Entry[Object]) -> Object:
        """The raw job, with the status that it has or is about to have."""
        return self._untold.over(entry.job, entry.meta.uid, entry.value)

    async def _execute(self, entry: Entry[Object], step: Plan) -> None:
        for children in _in_order(step.create):
            await _all(self._create(entry, child) for child in children)
        await _all(self._delete(entry, pod) for pod in step.delete)
        await self._tell(entry, step, can_wait=step.can_wait or step.status is None)
        if step.delete_job:
            logger.info("%s: deleted, as runPolicy.ttlSecondsAfterFinished asks", entry.job)
            await self._client.delete(JOBS, entry.job, entry.meta.uid, version=entry.meta.version)

    async def _create(self, entry: Entry[Object], child: CreateChild) -> None:
        resource = resource_of(child.manifest)
        try:
            with self._rush.acting(entry.job):
                raw = await self._client.create(resource, entry.job.namespace, child.manifest, entry.job)
        except ConflictError:
            raw = await self._client.get(resource, Key(entry.job.namespace, child.name))
            if not _serves(raw, child, entry.meta.uid):
                why = "is still being deleted" if metadata(raw).deleting else "belongs to something else"
                message = f"{child.kind} {child.name} exists already and {why}"
                raise ChildRefusedError(Refusal(reasons.NAME_CONFLICT, message)) from None
        except (RefusedError, NotFoundError) as error:
            # Not found is the kind itself, such as a PodGroup where no gang scheduler is installed.
            message = f"{child.kind} {child.name}: {error.message}"
            raise ChildRefusedError(Refusal(reasons.CREATE_REFUSED, message)) from error
        if child.kind == "Pod":
            self._note_pod(raw)

    async def _delete(self, entry: Entry[Object], pod: DeletePod) -> None:
        key = Key(entry.job.namespace, pod.name)
        with self._rush.acting(entry.job):
            raw = await self._client.delete(PODS, key, pod.uid, pod.grace_seconds, sender=entry.job)
        if raw is not None:
            self._note_pod(raw)

    async def _tell(self, entry: Entry[Object], step: Plan, *, can_wait: bool = False) -> None:
        """Write the status and post the events of this step and of those before it, or have it done later."""
        news = self._untold.and_also(entry.job, entry.meta.uid, step)
        if news is None:
            for event in step.events:
                await self._post(entry, event)
        elif can_wait and self._rush.on(entry.job) and self._untold.put_off(entry.job, news):
            self._queue.add_after(entry.job, LOOK_AGAIN)
        else:
            await self._write_status(entry, news.status)
            self._untold.forget(entry.job)
            for event in news.events:
                await self._post(entry, event)

    async def _write_status(self, entry: Entry[Object], status: Mapping[str, object]) -> None:
        """Patch the status, then have the job looked at again: the next step may wait for just this."""
        before = status_of(entry.value)
        patch = merge_patch(before, status)
        if not patch:
            return
        try:
            raw = await self._client.patch(JOBS, entry.job, entry.meta.version, {"status": patch}, "status")
        except NotFoundError:
            return
        except ConflictError:
            await self._read_job(entry.job)
            raise
        if before.get("phase") != status.get("phase"):
            logger.info(
                "%s: %s -> %s: %s",
                entry.job,
                before.get("phase", "new"),
                status.get("phase"),
                status.get("message"),
                extra=_reference(entry),
            )
        if self._cache.jobs.upsert(job_entry(raw)):
            self._queue.add(entry.job)

    async def _post(self, entry: Entry[Object], event: Event) -> None:
        """Post an event. One that is not taken is lost, as with every recorder of Kubernetes events."""
        manifest = events.manifest(entry.meta, event, self._now(), self._instance)
        try:
            await self._client.create(EVENTS, entry.job.namespace, manifest)
        except KubeError as error:
            self._metrics.events_lost.inc()
            logger.warning("%s: event %s lost: %s", entry.job, event.reason, error, extra=_reference(entry))

    def _rests_on_absence(self, entry: Entry[Object], step: Plan) -> bool:
        """Whether the step ends the job or its attempt, which cannot be undone if a pod was only missed.

        A job without a status has had no attempt yet: a look for its pods would cost each new job a list.
        """
        if step.status is None:
            return False
        before = status_of(self._seen(entry))
        ends = step.status.get("phase") in _TERMINAL and before.get("phase") not in _TERMINAL
        moves = any(step.status.get(field) != before.get(field) for field in ("attempt", "replacements"))
        return ends or (bool(before) and moves)

    async def _list_pods(self, job: Key) -> None:
        """Read the job's pods anew: what the cache lacks may only be late."""
        selector = f"{labels.SELECTOR},{labels.JOB}={job.name}"
        found = await self._client.list(PODS, pod_entry, job.namespace, selector)
        self._cache.pods.replace(found.items, found.version, lambda entry: entry.job == job)

    async def _read_job(self, key: Key) -> None:
        try:
            self._cache.jobs.upsert(job_entry(await self._client.get(JOBS, key)))
        except NotFoundError:
            logger.debug("%s is gone, the event that says so is on its way", key)

    def _note_pod(self, raw: Object) -> None:
        entry = pod_entry(raw)
        if entry is not None:
            self._cache.pods.upsert(entry)

    def _follow(self, key: Key, host: str | None) -> None:
        self._poller.follow(key, host)
        if host is None:
            self._reports.forget(key)


def _serves(raw: Object, child: CreateChild, job: str) -> bool:
    """Whether what has the child's name already is that very child, or one that can stand for it."""
    found = metadata(raw)
    if child.retained:
        return found.controller is None and labels_of(raw) == labels_of(child.manifest)
    return found.controller == job


def status_of(raw: Object) -> Mapping[str, object]:
    """The status of a raw job; empty before the first write."""
    status = raw.get("status")
    return status if isinstance(status, Mapping) else {}


def _complained_of(pod: Pod, uid: str, complaint: Complaint | None) -> Pod:
    if pod.uid != uid or complaint is None:
        return pod
    return replace(pod, reason=complaint.reason, message=complaint.message)


def _in_order(children: Sequence[CreateChild]) -> tuple[list[CreateChild], list[CreateChild]]:
    """What pods need comes before the pods: where a pod is, its Service is, whenever the operator dies."""
    return (
        [child for child in children if child.kind != "Pod"],
        [child for child in children if child.kind == "Pod"],
    )


async def _all(requests: Iterable[Coroutine[None, None, None]]) -> None:
    """Make the requests at once and wait for all of them; then raise the first error."""
    for outcome in await asyncio.gather(*requests, return_exceptions=True):
        if outcome is not None:
            raise outcome


def _reference(entry: Entry[Object]) -> Mapping[str, object]:
    """What puts the job into a log line, in kopf's own field."""
    job = entry.meta
    return {"k8s_ref": {"namespace": job.key.namespace, "name": job.key.name, "uid": job.uid}}
