"""The chart's alerts: what promtool says of them, and what an operator finds when one fires."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.chart.helm import CHART, ROOT, Values, only, template
from tests.cluster import packages

RULES = CHART / "files" / "rules.yaml"
CASES = Path(__file__).parent / "rules_test.yaml"
ALERTS: dict[str, Any] = {
    rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
}
ENABLED: Values = {"monitoring": {"rules": {"enabled": True, "labels": {"release": "prometheus"}}}}


def test_every_alert_fires_and_clears_as_told(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    shutil.copy(CASES, tmp_path)
    done = subprocess.run(
        [str(packages.promtool()), "test", "rules", CASES.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_firing_and_silent() -> None:
    seen = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]]
    firing = {case["alertname"] for case in seen if case.get("exp_alerts")}
    silent = {case["alertname"] for case in seen if not case.get("exp_alerts")}
    assert firing == silent == set(ALERTS)


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    books = {path.stem: path.read_text() for path in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert books.keys() == ALERTS.keys()
    for name, text in books.items():
        assert text.startswith(f"# {name}\n")
        assert re.search(r"^1\. ", text, re.MULTILINE), f"{name} says nothing of what to do"


def test_the_rules_reach_the_cluster_as_they_are() -> None:
    rule = only(template(ENABLED), "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert rule["spec"]["groups"] == yaml.safe_load(RULES.read_text())["groups"]


def test_alerts_lead_to_the_runbooks_where_they_are_read() -> None:
    values = {"monitoring": {"rules": {"enabled": True, "runbookBaseURL": "https://wiki.example/runbooks/"}}}
    groups = only(template(values), "PrometheusRule")["spec"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules} == {
        name: f"https://wiki.example/runbooks/{name}.md" for name in ALERTS
    }
