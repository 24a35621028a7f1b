"""docs/status.md names every phase, condition and reason that the operator writes."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from detectron_operator import reasons
from detectron_operator.plan.restarting import REJECTION_PAUSE

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "status.md").read_text()
NAMED = set(re.findall(r"`([A-Z][A-Za-z]+)`", TEXT))
VERDICT_ONLY = {reasons.COMPLETED, reasons.NEW}


def test_every_reason_is_explained() -> None:
    words = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert len(words) > 20
    assert words - NAMED == VERDICT_ONLY


def test_every_phase_and_condition_of_the_crd_is_explained() -> None:
    crd = yaml.safe_load((ROOT / "crds" / "detectrontrainingjobs.yaml").read_text())
    status = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    conditions = status["conditions"]["items"]["properties"]["type"]["enum"]
    assert {*status["phase"]["enum"], *conditions} <= NAMED


def test_the_times_it_names_are_those_of_the_code() -> None:
    assert f"after {REJECTION_PAUSE.seconds} s" in TEXT
