"""The typed edges of the API: errors, paths, metadata, merge patches, the rate limit."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectron_operator.engine.merge import merge_patch
from detectron_operator.kube import credentials, errors
from detectron_operator.kube.objects import JOBS, PODS, Key, metadata
from detectron_operator.kube.ratelimit import RateLimit
from tests.unit.virtual_time import run


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, errors.RefusedError),
        (401, errors.UnavailableError),
        (403, errors.RefusedError),
        (404, errors.NotFoundError),
        (408, errors.UnavailableError),
        (409, errors.ConflictError),
        (410, errors.GoneError),
        (422, errors.RefusedError),
        (429, errors.TooManyRequestsError),
        (500, errors.UnavailableError),
        (503, errors.UnavailableError),
    ],
)
def test_each_code_has_its_error(code: int, kind: type[errors.KubeError]) -> None:
    body = json.dumps({"kind": "Status", "message": "in the server's words"}).encode()
    error = errors.from_response("create pods a/b", code, {}, body)
    assert type(error) is kind
    assert str(error) == f"create pods a/b: {code}: in the server's words"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({}, 1.0),
        ({"Retry-After": "soon"}, 1.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:09 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 9.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:27:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:09 -0000", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:09 GMT"}, 1.0),
        ({"Retry-After": "Thu, 21 Oct 2027 07:28:09 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 300.0),
        ({"Retry-After": "86400"}, 300.0),
        ({"Retry-After": "-5"}, 1.0),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float) -> None:
    error = errors.from_response("get", 429, headers, b"slow down")
    assert isinstance(error, errors.TooManyRequestsError)
    assert error.retry_after == seconds
    assert error.message == "slow down"


def test_an_answer_of_a_proxy_is_shown_as_it_is() -> None:
    assert errors.from_response("get", 502, {}, b"<html>bad gateway").message == "<html>bad gateway"
    assert errors.from_response("get", 502, {}, b"[1]").message == "[1]"


def test_paths() -> None:
    assert PODS.path("a", "b") == "/api/v1/namespaces/a/pods/b"
    assert PODS.path(None) == "/api/v1/pods"
    jobs = "/apis/detectron.dev/v1alpha1/namespaces/a/detectrontrainingjobs"
    assert JOBS.path("a", "b", "status") == f"{jobs}/b/status"


def test_metadata_names_the_controller_among_the_owners() -> None:
    owners = [{"uid": "1"}, {"uid": "2", "controller": True}]
    raw = {"metadata": {"namespace": "a", "name": "b", "uid": "u", "resourceVersion": "12"}}
    assert metadata(raw).controller is None
    found = metadata({"metadata": {**raw["metadata"], "ownerReferences": owners}})
    assert (found.key, found.uid, found.version, found.controller) == (Key("a", "b"), "u", 12, "2")


VALUES = st.recursive(
    st.integers(0, 3) | st.text("ab", max_size=2) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.sampled_from("xyz"), VALUES, max_size=3)


def merged(document: object, patch: object) -> object:
    """What RFC 7386 says of a patch, as the API server applies it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@given(DOCUMENTS, DOCUMENTS)
def test_a_merge_patch_leads_from_old_to_new(old: dict[str, object], new: dict[str, object]) -> None:
    patch = merge_patch(old, new)
    assert merged(old, patch) == new
    assert bool(patch) == (old != new)


def test_the_rate_limit_lets_a_burst_pass_and_then_its_rate() -> None:
    now = 100.0
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def scenario() -> None:
        nonlocal now
        limit = RateLimit(qps=2, burst=3, clock=lambda: now, sleep=sleep)
        for _ in range(5):
            await limit.acquire()
        assert slept == [0.5, 1.0]
        now += 60
        for _ in range(4):
            await limit.acquire()
        assert slept == [0.5, 1.0, 0.5]

    run(scenario())


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"https_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "api.example"}, None),
        ({"http_proxy": "http://proxy:3128"}, None),
    ],
)
def test_the_proxy_is_the_environments(
    environ: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert credentials.proxy_for("https://api.example:6443") == proxy
