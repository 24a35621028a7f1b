"""The reference of reasons, from the docstrings that stand behind the words in the code."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from detectron_operator.reasons import COMPLETED, event_type
from detectron_operator.reasons import Reason as Word

ROOT = Path(__file__).parents[1]
OPERATOR = ROOT / "operator" / "src" / "detectron_operator" / "reasons.py"
TRAINER = ROOT / "trainer-image" / "src" / "detectron_trainer" / "progress" / "parts.py"

CONDITIONS = ("Running", "Restarting", "Suspended", "Complete", "Failed")
_PLACES = {*CONDITIONS, "Event", "Failure", "Verdict"}

_HEAD = """\
# Reasons

Written by `python -m reference` from the code. A reason is a word for machines: of a condition in
`.status.conditions`, of `.status.failure`, of an event. The message beside it is for people. Each cause has
one word, wherever it stands: that of a restart is in the condition Restarting, in its event, in
`status.lastRestartCause`, `status.restartsByReason` and the losses of `status.goodput`.

An event is posted once, at the transition that its word names. Its type is Normal for what somebody asked
for or the cluster is there to do, and Warning for all else, and for whatever fails the job.

## Of the operator

| Reason | Condition | Event | `failure` | Meaning |
|---|---|---|---|---|
"""

_VERDICTS = """
## Of the trainer

The verdict that the process which failed first leaves in its pod's termination message. One that allows
another attempt restarts the gang, counted; others fail the job, unless `runPolicy.failurePolicy` says else.
So it stands in Restarting or Failed, in an event, and in `failure`.

| Reason | Event | Meaning |
|---|---|---|
"""

_OTHERS = """
## Of the cluster

Where the scheduler or a kubelet says why a pod waits or has ended, the word is theirs, without what is no
letter or digit. One that ends an attempt has an event, a Warning, and may stand in `failure`. Some of many:

| Reason | Condition | Meaning |
|---|---|---|
| `Unschedulable` | Running | no node has room for a pod |
| `ErrImagePull`, `InvalidImageName` | Running | an image cannot be had |
| `CreateContainerConfigError` | Running | a Secret or ConfigMap that a container needs is not there |
| `FailedMount`, `FailedAttachVolume` | Running | a volume cannot be mounted; known from events alone |
| `FailedCreatePodSandBox` | Running | a pod's network cannot be set up; known from events alone |
| `OOMKilled`, `Evicted` | Restarting | a pod took more memory or disk than it may; counted |
"""


@dataclass(frozen=True)
class Reason:
    """A word, the places that it stands in, and what it means."""

    word: str
    places: tuple[str, ...]
    meaning: str

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions that carry it."""
        return tuple(place for place in self.places if place in CONDITIONS)

    @property
    def event(self) -> str:
        """The type of its event, empty where it has none."""
        posted = "Event" in self.places or any(kind != "Running" for kind in self.conditions)
        return event_type(Word(self.word)) if posted else ""

    @property
    def failure(self) -> bool:
        """Whether `.status.failure` may have it."""
        return "Failure" in self.places


def page() -> str:
    """The whole page."""
    operators = list(of_operator())
    known = {reason.word for reason in operators if reason.places != ("Verdict",)}
    rows = [
        f"| `{r.word}` | {', '.join(r.conditions)} | {r.event} | {'yes' * r.failure} | {r.meaning} |\n"
        for r in operators
        if r.word in known
    ]
    verdicts = [f"| `{r.word}` | {_of_verdict(r.word)} | {r.meaning} |\n" for r in of_trainer()]
    return "".join([_HEAD, *rows, _VERDICTS, *verdicts, _OTHERS])


def of_operator() -> Iterator[Reason]:
    """The words of the operator; ValueError where a docstring names a place that is none."""
    for word, text in _documented(ast.parse(OPERATOR.read_text()).body):
        said = re.match(r"((?:[A-Z][a-z]+, )*[A-Z][a-z]+): ", text)
        places = tuple(said[1].split(", ")) if said else ("Running",)
        if not _PLACES.issuperset(places):
            raise ValueError(f"{OPERATOR.name}: {word}: {places} are not all of {sorted(_PLACES)}")
        yield Reason(word, places, _row(text[said.end() :] if said else text))


def of_trainer() -> Iterator[Reason]:
    """The words of the trainer's verdicts."""
    body = ast.parse(TRAINER.read_text()).body
    (words,) = (node for node in body if isinstance(node, ast.ClassDef) and node.name == "Reason")
    for word, text in _documented(words.body):
        yield Reason(word, ("Verdict",), _row(text))


def _of_verdict(word: str) -> str:
    """The type of the event of a pod that failed with this verdict."""
    return "" if word == COMPLETED else event_type(Word(word))


def _documented(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Each text, or `Reason` of one, that a name is given, with the docstring that follows it."""
    for node, after in itertools.pairwise(body):
        if isinstance(node, ast.Assign) and isinstance(after, ast.Expr):
            value = node.value
            if isinstance(value, ast.Call):
                if not (isinstance(value.func, ast.Name) and value.func.id == "Reason"):
                    continue
                (value,) = value.args
            word, text = ast.literal_eval(value), ast.literal_eval(after.value)
            yield word, " ".join(text.split())


def _row(text: str) -> str:
    text = text.rstrip(".")
    return text[0].lower() + text[1:] if not text.startswith("`") else text
