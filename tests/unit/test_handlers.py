"""How kopf is set up: what it may watch, and that it keeps nothing of its own on objects."""

import logging

import kopf

from detectron_operator import handlers, labels


def test_kopf_watches_only_our_pods() -> None:
    settings = handlers.settings()
    assert settings.watching.label_selectors["", "v1", "pods"] == labels.SELECTOR
    assert settings.scanning.disabled
    assert settings.peering.standalone


def test_kopf_posts_and_stores_nothing() -> None:
    settings = handlers.settings()
    storage = settings.persistence.diffbase_storage
    body, patch = kopf.Body({"metadata": {}, "spec": {"a": 1}}), kopf.Patch()
    storage.store(body=body, patch=patch, essence=storage.build(body=body))
    assert not patch
    assert storage.fetch(body=body) is None
    assert not storage.build(body=body)
    assert not settings.posting.loggers
    assert not settings.posting.enabled


def test_kopf_is_quiet_about_each_object() -> None:
    handlers.settings()
    assert logging.getLogger("kopf.objects").getEffectiveLevel() == logging.WARNING
