"""The boards: in step with the chart and with the metrics that exist, and as Grafana's linter wants them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import Metric

from dashboards.__main__ import FOLDER
from dashboards.boards import BOARDS
from detectron_operator.job_metrics import JobCollector
from detectron_operator.metrics import Metrics, StateCollector
from detectron_trainer.metrics.scalars import AveragePrecision
from detectron_trainer.metrics.training_metrics import _GAUGES, TrainingMetrics
from tests.unit.test_operator_job_metrics import NOW, STATUS, job

NAMES = [board.uid for board in BOARDS]
MODELS: list[dict[str, Any]] = [json.loads(board.to_json()) for board in BOARDS]
BY_UID = dict(zip(NAMES, MODELS, strict=True))


def panels(model: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in model["panels"] if panel["type"] != "row"]


def expressions(model: dict[str, Any]) -> Iterator[str]:
    """Every PromQL expression of a board."""
    for panel in panels(model):
        yield from (target["expr"] for target in panel["targets"])
    yield from (mark["expr"] for mark in model["annotations"].get("list", ()))
    yield from (choice["query"] for choice in model["templating"]["list"] if choice["type"] == "query")


def exported() -> set[str]:
    """The names of all series that operator and trainer export."""
    families: list[Metric] = []
    metrics = Metrics("1")
    metrics.registry.register(JobCollector(lambda: [job("cats", STATUS)], lambda: NOW))
    metrics.registry.register(
        StateCollector(
            depth=lambda: 0,
            oldest_age=lambda: 0,
            resynced=lambda: 0,
            objects=lambda: {"pods": 1},
            phases=lambda: ["Running"],
        )
    )
    families.extend(metrics.registry.collect())
    plain: dict[str, Any] = dict.fromkeys(_GAUGES, 1.0)
    full = TrainingMetrics(
        info={"version": "1"},
        **plain,
        losses={"loss_cls": 1.0},
        scalars={"x": 1.0},
        precisions={precision(None): 0.5, precision("cat"): 0.5},
        images=1,
        gpu_memory={0: (1, 2)},
        exit_reason="Completed",
    )
    families.extend(full.families())
    return {name for family in families for name in _series_of(family)}


def precision(category: str | None) -> AveragePrecision:
    return AveragePrecision(dataset="d", task="bbox", kind="AP", category=category)


def _series_of(family: Metric) -> Iterator[str]:
    if family.type == "histogram":
        yield from (f"{family.name}_{part}" for part in ("bucket", "sum", "count"))
    elif family.type == "counter":
        yield f"{family.name}_total"
    elif family.type == "info":
        yield f"{family.name}_info"
    else:
        yield family.name


@pytest.mark.parametrize("board", BOARDS, ids=NAMES)
def test_the_chart_ships_what_the_code_says(board: Any) -> None:
    stored = (FOLDER / f"{board.uid}.json").read_text()
    assert stored == board.to_json(), "run `python -m dashboards`"


def test_the_chart_ships_no_other_boards() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_every_metric_of_a_board_exists(model: dict[str, Any]) -> None:
    used = {name for expr in expressions(model) for name in re.findall(r"\bdetectron_\w+", expr)}
    assert used
    assert used - exported() == set()


def test_every_metric_of_an_alert_exists() -> None:
    rules = yaml.safe_load((FOLDER.parent / "rules.yaml").read_text())
    text = " ".join(rule["expr"] for group in rules["groups"] for rule in group["rules"])
    assert set(re.findall(r"\bdetectron_\w+", text)) - exported() == set()


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_every_panel_says_what_it_shows(model: dict[str, Any]) -> None:
    for panel in panels(model):
        assert panel["title"]
        assert len(panel["description"]) > 5
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))
    titles = Counter(panel["title"] for panel in panels(model))
    assert [title for title, times in titles.items() if times > 1] == []


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_rates_span_at_least_a_few_scrapes(model: dict[str, Any]) -> None:
    for expr in expressions(model):
        for window in re.findall(r"(?:rate|increase)\([^[]*\[([^\]]+)\]", expr):
            assert window == "$__rate_interval", expr


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_only_variables_of_the_board_are_used(model: dict[str, Any]) -> None:
    known = {choice["name"] for choice in model["templating"]["list"]}
    known |= {"__rate_interval", "__range", "__interval"}
    used = {name for expr in expressions(model) for name in re.findall(r"\$(\w+)", expr)}
    assert used <= known
    assert "datasource" in known


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_links_lead_to_boards_that_exist(model: dict[str, Any]) -> None:
    for uid in re.findall(r"/d/([\w-]+)", json.dumps(model)):
        assert uid in BY_UID
