"""docs/status.md and docs/reasons.md name every phase, condition and reason there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from detectron_operator import reasons
from detectron_operator.history import FIRST_PAUSE, STEADY
from detectron_operator.loss import OVERDUE, UNREACHABLE
from detectron_operator.plan.replacing import LONGEST_PAUSE, PATIENCE
from detectron_operator.plan.restarting import REJECTION_PAUSE
from reference.__main__ import DOCS
from reference.reasons import CONDITIONS, of_operator, of_trainer

ROOT = Path(__file__).parents[2]
NAMED = set(re.findall(r"`([A-Z][A-Za-z]+)`", (DOCS / "status.md").read_text()))
PHASES = {reasons.PENDING, reasons.RUNNING, reasons.RESTARTING, reasons.SUSPENDED, *reasons.TERMINAL}


def test_every_word_of_the_operator_is_explained() -> None:
    words = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert words - PHASES - {reasons.NEW} == {reason.word for reason in of_operator()}


def test_every_verdict_of_the_schema_is_explained() -> None:
    schema = json.loads((ROOT / "crds" / "progress.schema.json").read_text())
    verdicts = schema["properties"]["verdict"]["properties"]["reason"]["enum"]
    assert {reason.word for reason in of_trainer()} == set(verdicts)


def test_every_phase_and_condition_of_the_crd_is_explained() -> None:
    crd = yaml.safe_load((ROOT / "crds" / "detectrontrainingjobs.yaml").read_text())
    status = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    conditions = status["conditions"]["items"]["properties"]["type"]["enum"]
    assert set(CONDITIONS) == set(conditions)
    assert {*status["phase"]["enum"], *conditions} <= NAMED


def test_the_times_it_names_are_those_of_the_code() -> None:
    (rejected,) = (reason for reason in of_operator() if reason.word == reasons.POD_REJECTED)
    assert f"after {REJECTION_PAUSE.seconds} s" in rejected.meaning


def test_the_times_of_recovery_are_those_of_the_code() -> None:
    text = " ".join((ROOT / "docs" / "recovery.md").read_text().split())
    for words in (
        f"A pod that stays so for {UNREACHABLE.seconds} s",
        f"still there {OVERDUE.seconds} s after",
        f"the second waits {FIRST_PAUSE.seconds} s, the third {2 * FIRST_PAUSE.seconds} s",
        f"a back-off above {LONGEST_PAUSE.seconds} s",
    ):
        assert words in text
    assert (PATIENCE.seconds, STEADY.seconds) == (5 * 60, 10 * 60)
    assert "no replacement that runs within five minutes" in text
    assert "A gang that has run for ten minutes" in text
