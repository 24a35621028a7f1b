"""Tests of the checkout on a private copy of its sources, with and without a naive change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.naive.change import NaiveChange
from tests.naive.table import ROOT

_SOURCES = ("trainer-image/src", "operator/src")
_WHERE = """
from importlib.util import find_spec
print(*(find_spec(name).origin for name in ("detectron_trainer", "detectron_operator")), sep="\\n")
"""


class Verdict(StrEnum):
    """What became of a change; only the first is as it should be."""

    FAILS = "fails as it must"
    SURVIVES = "SURVIVES"
    OTHERWISE = "FAILS FOR ANOTHER REASON"
    BROKEN = "CANNOT BE RUN"
    BEFORE = "FAILS WITHOUT IT TOO"


@dataclass(frozen=True)
class Outcome:
    """Of a test with all its parameters: the words of what failed in it, and of what broke around it."""

    failures: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.failures and not self.errors


class BrokenRunError(Exception):
    """pytest could not run what it was asked to, and says why."""


class Sources:
    """A copy of the trainer's and the operator's sources in `folder`, which tests import instead."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in _SOURCES:
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        self._environment = self._variables()
        self._assert_imported()

    def outcomes(self, tests: Iterable[str]) -> Mapping[str, Outcome]:
        """Run `tests`, such as ``tests/unit/test_world.py::test_a``; what became of each.

        Raises:
            BrokenRunError: a test was not found or its module could not be imported.
        """
        report = self.folder / "report.xml"
        asked = sorted(set(tests))
        command = [sys.executable, "-m", "pytest", "-vv", "-p", "no:cacheprovider", f"--junit-xml={report}"]
        done = subprocess.run(
            [*command, *asked],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        found = _read(report) if done.returncode in (0, 1) else {}
        if found.keys() != set(asked):
            raise BrokenRunError(done.stdout)
        return found

    def judge(self, change: NaiveChange) -> tuple[Verdict, str]:
        """Whether `change` makes its test fail for its reason, and what the test says."""
        with change.applied(self.folder):
            try:
                outcome = self.outcomes([change.test])[change.test]
            except BrokenRunError as error:
                return Verdict.BROKEN, str(error)
        if outcome.passed:
            return Verdict.SURVIVES, ""
        if outcome.errors or not any(change.symptom in said for said in outcome.failures):
            return Verdict.OTHERWISE, "\n".join(outcome.errors + outcome.failures)
        return Verdict.FAILS, next(said for said in outcome.failures if change.symptom in said)

    def _variables(self) -> dict[str, str]:
        """Also for the processes that tests start: PYTHONPATH goes before what is installed."""
        inherited = os.environ.get("PYTHONPATH", "")
        path = [*(str(self.folder / part) for part in _SOURCES), *filter(None, [inherited])]
        examples = {"HYPOTHESIS_STORAGE_DIRECTORY": str(self.folder / "hypothesis")}
        return {**os.environ, **examples, "PYTHONPATH": os.pathsep.join(path)}

    def _assert_imported(self) -> None:
        command = [sys.executable, "-c", _WHERE]
        found = subprocess.check_output(command, cwd=ROOT, env=self._environment, text=True).split()
        if strangers := [path for path in found if not Path(path).is_relative_to(self.folder)]:
            raise BrokenRunError(f"imported from elsewhere than {self.folder}: {', '.join(strangers)}")


def _read(report: Path) -> dict[str, Outcome]:
    """pytest's report in JUnit's format; the cases of a parametrized test are taken together."""
    found: dict[str, Outcome] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        module, name = case.attrib["classname"], case.attrib["name"].partition("[")[0]
        test = f"{module.replace('.', '/')}.py::{name}"
        before = found.get(test, Outcome())
        found[test] = Outcome(
            before.failures + tuple(_said(failure) for failure in case.iter("failure")),
            before.errors + tuple(_said(error) for error in case.iter("error")),
        )
    return found


def _said(failure: ElementTree.Element) -> str:
    """The error's own lines, which pytest marks, without the code around it and before it cuts them short."""
    lines = (failure.text or "").splitlines()
    return "\n".join(" ".join(line[1:].split()) for line in lines if line.startswith("E "))
