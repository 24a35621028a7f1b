"""What the operator knows of the cluster: each object in its newest known state, filed under its job.

Watch events, lists and the answers to the operator's own writes reach the cache in any order. An object's
resourceVersion decides: an older state never replaces a newer one, and what was deleted does not come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from detectron_operator.kube.objects import Key, Metadata, Object, metadata, without_managed_fields
from detectron_operator.observed import Pod, observe_pod

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """An object and the job that it belongs to."""

    job: Key
    meta: Metadata
    value: T


class Store(Generic[T]):
    """The objects of one kind."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry[T]] = {}
        self._by_job: dict[Key, dict[Key, Entry[T]]] = {}
        self._gone: set[str] = set()
        self._gone_before: set[str] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def names(self) -> set[Key]:
        """The names of all objects."""
        return set(self._entries)

    def get(self, key: Key) -> Entry[T] | None:
        """The object; None if it is not there."""
        return self._entries.get(key)

    def of_job(self, job: Key) -> list[T]:
        """All objects of a job."""
        return [entry.value for entry in self._by_job.get(job, {}).values()]

    def values(self) -> list[T]:
        """All objects."""
        return [entry.value for entry in self._entries.values()]

    def upsert(self, entry: Entry[T]) -> bool:
        """Note a state of an object; returns whether it is news."""
        if entry.meta.uid in self._gone or entry.meta.uid in self._gone_before:
            return False
        known = self._entries.get(entry.meta.key)
        if known is not None:
            if known.meta.version >= entry.meta.version:
                return False
            self._drop(known)
        self._entries[entry.meta.key] = entry
        self._by_job.setdefault(entry.job, {})[entry.meta.key] = entry
        return True

    def remove(self, meta: Metadata) -> bool:
        """Note that this very object is gone; returns whether it is news."""
        self._gone.add(meta.uid)
        known = self._entries.get(meta.key)
        if known is None or known.meta.uid != meta.uid:
            return False
        self._drop(known)
        return True

    def replace(
        self,
        listed: Iterable[Entry[T]],
        version: int,
        concerns: Callable[[Entry[T]], bool] = lambda _: True,
    ) -> set[Key]:
        """Note the result of a LIST; returns the jobs for which it is news.

        Args:
            listed: every object that it returned.
            version: the list's resourceVersion.
            concerns: whether the list would have returned this object, if it were there.
        """
        listed = list(listed)
        present = {entry.meta.uid for entry in listed}
        news = {
            entry.job
            for entry in [known for known in self._entries.values() if concerns(known)]
            if entry.meta.uid not in present and entry.meta.version <= version and self.remove(entry.meta)
        }
        return news | {entry.job for entry in listed if self.upsert(entry)}

    def forget_the_gone(self) -> None:
        """Stop remembering what was gone before the previous call: no event of it can still be under way."""
        self._gone_before, self._gone = self._gone, set()

    def _drop(self, entry: Entry[T]) -> None:
        del self._entries[entry.meta.key]
        siblings = self._by_job[entry.job]
        del siblings[entry.meta.key]
        if not siblings:
            del self._by_job[entry.job]


class Cache:
    """Jobs, as the API server sent them, and their pods, reduced to what decisions rest on."""

    def __init__(self) -> None:
        self.jobs: Store[Object] = Store()
        self.pods: Store[Pod] = Store()

    def pods_of(self, job: Key, uid: str) -> list[Pod]:
        """The pods of this very job, not of a deleted one of the same name, in no particular order."""
        return [pod for pod in self.pods.of_job(job) if pod.job_uid == uid]


def job_entry(raw: Object) -> Entry[Object]:
    """A raw DetectronTrainingJob."""
    meta = metadata(raw)
    return Entry(meta.key, meta, without_managed_fields(raw))


def pod_entry(raw: Object) -> Entry[Pod] | None:
    """A raw pod; None if it is no job's."""
    pod = observe_pod(raw)
    if pod is None:
        return None
    meta = metadata(raw)
    return Entry(Key(meta.key.namespace, pod.job), meta, pod)
