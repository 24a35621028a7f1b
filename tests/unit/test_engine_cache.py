"""The cache: whatever order news arrives in, it ends with what is true."""

import random
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from detectron_operator.engine.cache import Entry, Store, job_entry, pod_entry
from detectron_operator.kube.objects import Key, Metadata

JOB = Key("default", "job")


def entry(name: str, uid: str, version: int, job: Key = JOB) -> Entry[int]:
    key = Key("default", name)
    return Entry(job, Metadata(key=key, uid=uid, version=version, controller=None, deleting=False), version)


@dataclass(frozen=True)
class Event:
    entry: Entry[int]
    deleted: bool


def history(steps: list[tuple[str, bool]]) -> list[Event]:
    """What the API server's etcd went through: per name creations, changes and deletions, in one order."""
    alive: dict[str, str] = {}
    events = []
    for version, (name, delete) in enumerate(steps, start=1):
        if delete and name in alive:
            events.append(Event(entry(name, alive.pop(name), version), deleted=True))
        elif not delete:
            uid = alive.setdefault(name, f"{name}-{version}")
            events.append(Event(entry(name, uid, version), deleted=False))
    return events


def truth(events: list[Event]) -> dict[Key, int]:
    found: dict[Key, int] = {}
    for event in events:
        found[event.entry.meta.key] = event.entry.value
        if event.deleted:
            del found[event.entry.meta.key]
    return found


def deliver(store: Store[int], event: Event) -> None:
    if event.deleted:
        store.remove(event.entry.meta)
    else:
        store.upsert(event.entry)


def content(store: Store[int]) -> dict[Key, int]:
    return {key: found.value for key in store.names() if (found := store.get(key))}


STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12)


@given(steps=STEPS, seed=st.integers(0, 10_000))
def test_events_in_any_order_and_twice_end_in_the_truth(steps: list[tuple[str, bool]], seed: int) -> None:
    events = history(steps)
    delivered = events * 2
    random.Random(seed).shuffle(delivered)
    store: Store[int] = Store()
    for event in delivered:
        deliver(store, event)
    assert content(store) == truth(events)
    assert sorted(store.of_job(JOB)) == sorted(truth(events).values())


@given(steps=STEPS, seed=st.integers(0, 10_000))
def test_a_list_finds_what_events_missed(steps: list[tuple[str, bool]], seed: int) -> None:
    chance = random.Random(seed)
    events = history(steps)
    seen_by_list = chance.randint(0, len(events))
    version = events[seen_by_list - 1].entry.meta.version if seen_by_list else 0
    listed = truth(events[:seen_by_list])
    states = {event.entry.value: event.entry for event in events}
    missed = [event for event in events[:seen_by_list] if chance.random() < 0.5]
    others = [event for event in events if event not in missed]
    chance.shuffle(others)
    when = chance.randint(0, len(others))
    store: Store[int] = Store()
    for event in others[:when]:
        deliver(store, event)
    store.replace([states[value] for value in listed.values()], version)
    for event in others[when:]:
        deliver(store, event)
    expected = truth(events)
    assert {key: value for key, value in content(store).items() if value > version} == {
        key: value for key, value in expected.items() if value > version
    }
    assert expected.keys() <= content(store).keys()


def test_a_list_tells_for_which_jobs_it_was_news() -> None:
    store: Store[int] = Store()
    one, two, three = Key("default", "1"), Key("default", "2"), Key("default", "3")
    store.upsert(entry("same", "u1", 1, one))
    store.upsert(entry("gone", "u2", 2, two))
    news = store.replace([entry("same", "u1", 1, one), entry("new", "u3", 3, three)], 4)
    assert news == {two, three}


def test_a_list_says_nothing_of_what_came_after_it() -> None:
    store: Store[int] = Store()
    store.upsert(entry("newer", "u", 9))
    assert store.replace([], 8) == set()
    assert len(store) == 1


def test_a_list_says_nothing_of_what_it_does_not_concern() -> None:
    store: Store[int] = Store()
    store.upsert(entry("other", "u", 1))
    assert store.replace([], 8, lambda entry: entry.meta.key.namespace == "elsewhere") == set()
    assert len(store) == 1


def test_the_gone_are_remembered_for_one_resync() -> None:
    store: Store[int] = Store()
    late = entry("pod", "u", 5)
    store.remove(late.meta)
    store.forget_the_gone()
    assert not store.upsert(late)
    store.forget_the_gone()
    assert store.upsert(late)


def test_a_pod_moves_with_its_job_label() -> None:
    store: Store[int] = Store()
    store.upsert(entry("pod", "u", 1))
    other = Key("default", "other")
    store.upsert(entry("pod", "u", 2, other))
    assert store.of_job(JOB) == []
    assert store.of_job(other) == [2]


def test_jobs_are_kept_without_managed_fields() -> None:
    meta = {"name": "job", "namespace": "default", "uid": "u", "resourceVersion": "7", "managedFields": [{}]}
    found = job_entry({"metadata": meta, "spec": {}})
    assert found.job == JOB
    assert found.meta.version == 7
    assert found.value == {
        "metadata": {name: value for name, value in meta.items() if name != "managedFields"},
        "spec": {},
    }


def test_other_peoples_pods_are_left_out() -> None:
    assert pod_entry({"metadata": {"name": "web", "uid": "u", "resourceVersion": "7"}, "spec": {}}) is None
