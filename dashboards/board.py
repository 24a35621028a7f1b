"""The frame of a board: its variables, links and annotations, and panels laid out in rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    VariableRefresh,
    VariableSort,
)

from dashboards.panels import DATASOURCE, Panel

TAG = "detectron-operator"


@dataclass(frozen=True)
class Variable:
    """A choice above the board: the values of a label of a metric; `several` allows more than one."""

    name: str
    label: str
    query: str
    several: bool = False


NAMESPACE = Variable(
    "namespace",
    "Namespace",
    "label_values(detectron_job_created_timestamp_seconds, job_namespace)",
    several=True,
)
JOB_QUERY = 'label_values(detectron_job_created_timestamp_seconds{job_namespace=~"$namespace"}, training_job)'


@dataclass(frozen=True)
class Mark:
    """An annotation: lines at the times that the values of `expr`, in milliseconds, name."""

    name: str
    expr: str
    color: str


@dataclass(frozen=True)
class Row:
    """Panels under a heading; `collapsed` are drawn when it is opened."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Board:
    """A board; `uid` names it for good, in links and in the file's name."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = ()
    marks: Sequence[Mark] = ()
    links: Sequence[tuple[str, str]] = field(default_factory=tuple)
    since: str = "now-6h"

    def to_json(self) -> str:
        """The board in Grafana's classic model."""
        return json.dumps(self._encoded(), indent=1, sort_keys=True) + "\n"

    def _encoded(self) -> Any:
        built = dashboard.Dashboard(self.title).uid(self.uid).description(self.description)
        built.tags([TAG]).editable().refresh("30s").time(self.since, "now").timezone("browser")
        built.with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        for variable in self.variables:
            built.with_variable(_choice(variable))
        others = dashboard.DashboardLink("Detectron boards").type(DashboardLinkType.DASHBOARDS)
        built.link(others.tags([TAG]).as_dropdown(as_dropdown=True).include_vars(True).keep_time(True))
        for title, url in self.links:
            built.link(dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(url).keep_time(True))
        for mark in self.marks:
            built.annotation(_annotation(mark))
        for row in self.rows:
            built.with_row(dashboard.Row(row.title))
            for panel in row.panels:
                built.with_panel(panel)
        return json.loads(json.dumps(built.build(), cls=JSONEncoder))


def _choice(variable: Variable) -> dashboard.QueryVariable:
    choice = dashboard.QueryVariable(variable.name).label(variable.label).datasource(DATASOURCE)
    choice.query(variable.query).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    choice.sort(VariableSort.ALPHABETICAL_ASC)
    return choice.multi(variable.several).include_all(variable.several)


def _annotation(mark: Mark) -> dashboard.AnnotationQuery:
    annotation = dashboard.AnnotationQuery().name(mark.name).datasource(DATASOURCE).enable(True)
    return annotation.expr(mark.expr).icon_color(mark.color).use_value_for_time(True)
