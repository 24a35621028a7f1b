"""The chart's README, from the comments, names and defaults of its values.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

CHART = Path(__file__).parents[1] / "charts" / "detectron-operator"

_HEAD = """\
# detectron-operator

The operator that runs [DetectronTrainingJobs](../../README.md): Detectron2 models, trained on Kubernetes
from one manifest. Push [its two images](../../README.md#on-a-cluster) to a registry of yours, and name it:

```sh
helm install detectron-operator charts/detectron-operator --namespace detectron-system --create-namespace \\
  --set image.repository=registry.example/detectron-operator \\
  --set trainer.image.repository=registry.example/detectron-trainer
helm test detectron-operator --namespace detectron-system
```

An upgrade of the release brings its custom resource definition along. Uninstalling it leaves that and all
jobs in the cluster, unless `crds.keep` is false. The owner of one namespace can install it without what is
cluster-wide: with `scope=Namespaced`, `crds.enabled=false`, `admission.enabled=false` and
`userRoles.create=false`. Somebody with the rights for it has then applied `crds/`, and has given the owner,
in that namespace, the rights of the operator that Kubernetes' own role admin lacks: on jobs and PodGroups, as
in the chart's Role.

More: [running the operator](../../docs/operator.md), [monitoring](../../docs/monitoring.md),
[threat model](../../docs/security.md).

## Values

Written by `python -m reference` from `values.yaml`. Names that are none of these are refused.

| Value | Default | Meaning |
|---|---|---|
"""


class UncommentedValueError(ValueError):
    """A value that values.yaml says nothing of."""


@dataclass(frozen=True)
class Value:
    """A value by its path; the default, as JSON, is None where it has values of its own."""

    path: tuple[str, ...]
    default: str | None
    meaning: str


def page() -> str:
    """The whole page."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    rows = [_row(value) for value in values((CHART / "values.yaml").read_text(), schema)]
    return "".join([_HEAD, *rows])


def values(text: str, schema: Mapping[str, object]) -> Iterator[Value]:
    """Every value that the schema has a name for, from top to bottom.

    Raises:
        UncommentedValueError: no comment stands right above one.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return _within(root, text.splitlines(), schema, ())


def _within(
    node: yaml.Node | None, lines: list[str], schema: Mapping[str, object], path: tuple[str, ...]
) -> Iterator[Value]:
    named = schema.get("properties")
    if not isinstance(named, Mapping) or not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        place = (*path, str(key.value))
        inner = named.get(key.value, {})
        nested = "properties" in inner
        default = None if nested else json.dumps(yaml.SafeLoader("").construct_object(value, deep=True))
        yield Value(place, default, _comment(lines, key.start_mark, place))
        yield from _within(value, lines, inner, place)


def _comment(lines: list[str], mark: yaml.Mark, path: tuple[str, ...]) -> str:
    """What stands right above a key, at its own depth."""
    start, found = " " * mark.column + "#", []
    for line in reversed(lines[: mark.line]):
        if not line.startswith(start):
            break
        found.append(line.removeprefix(start).strip())
    if not found:
        raise UncommentedValueError(
            f"values.yaml, line {mark.line + 1}: {'.'.join(path)} needs a comment above"
        )
    return " ".join(reversed(found))


def _row(value: Value) -> str:
    default = "" if value.default is None else f"`{value.default}`"
    meaning = value.meaning.replace("|", "\\|").replace("<", "\\<")
    return f"| `{'.'.join(value.path)}` | {default} | {meaning} |\n"
