"""Panels in the house style: each with a unit, a description and queries that name what they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
    xychart,
)
from grafana_foundation_sdk.models import common as commons
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.xychart import SeriesMapping

DATASOURCE = commons.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24
"""Columns of a board."""
_NAMES = "ABCDEFGH"
"""Of the queries of a panel."""

Panel = bargauge.Panel | stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel | xychart.Panel
P = TypeVar(
    "P", bargauge.Panel, stat.Panel, statetimeline.Panel, table.Panel, timeseries.Panel, xychart.Panel
)


@dataclass(frozen=True)
class Query:
    """A PromQL expression, and what the legend calls a series of it (`{{label}}` for a label's value)."""

    expr: str
    legend: str = "__auto"


def graph(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    width: int = 12,
    stacked: bool = False,
    logarithmic: bool = False,
) -> timeseries.Panel:
    """Lines over time; `stacked` as areas that add up."""
    panel = _framed(timeseries.Panel(), title, description, unit, width, height=8)
    for name, query in zip(_NAMES, queries, strict=False):
        panel.with_target(_target(query, name))
    panel.line_width(1).show_points(commons.VisibilityMode.AUTO).span_nulls(span_nulls=False)
    panel.tooltip(
        common.VizTooltipOptions().mode(commons.TooltipDisplayMode.MULTI).sort(commons.SortOrder.DESCENDING)
    )
    legend = common.VizLegendOptions().display_mode(commons.LegendDisplayMode.TABLE)
    panel.legend(legend.placement(commons.LegendPlacement.BOTTOM).calcs(["lastNotNull", "min", "max"]))
    if stacked:
        panel.stacking(common.StackingConfig().mode(commons.StackingMode.NORMAL)).fill_opacity(40)
    if logarithmic:
        panel.scale_distribution(common.ScaleDistributionConfig().type(commons.ScaleDistribution.LOG).log(10))
    return panel


def number(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str = "short",
    width: int = 4,
    named: bool = False,
    steps: Sequence[tuple[float | None, str]] = ((None, "blue"),),
) -> stat.Panel:
    """What there is now; `steps` colour it from a value on. `named` shows its legend in its place."""
    panel = _framed(stat.Panel(), title, description, unit, width, height=4)
    panel.with_target(_target(query, instant=True))
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.color_mode(commons.BigValueColorMode.VALUE).graph_mode(commons.BigValueGraphMode.NONE)
    if named:
        panel.text_mode(commons.BigValueTextMode.NAME)
    return panel.thresholds(_thresholds(steps))


def bars(
    title: str, description: str, query: Query, *, unit: str = "short", width: int = 12
) -> bargauge.Panel:
    """The newest value of each series as a bar."""
    panel = _framed(bargauge.Panel(), title, description, unit, width, height=8)
    panel.with_target(_target(query, instant=True))
    panel.orientation(commons.VizOrientation.HORIZONTAL)
    panel.display_mode(commons.BarGaugeDisplayMode.BASIC)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return panel.thresholds(_thresholds(((None, "blue"),)))


def timeline(title: str, description: str, query: Query, *, width: int = WIDTH) -> statetimeline.Panel:
    """When each series was there, as bands."""
    panel = _framed(statetimeline.Panel(), title, description, "short", width, height=5)
    panel.with_target(_target(query))
    held: dict[str, models.ValueMappingResult] = {"1": models.ValueMappingResult(text="yes", color="blue")}
    return panel.mappings([models.ValueMap(options=held)]).row_height(0.8)


def listing(
    title: str,
    description: str,
    *queries: Query,
    columns: Mapping[str, str],
    unit: str = "short",
    width: int = WIDTH,
    worst_first: str = "",
    link: str = "",
) -> table.Panel:
    """A row for each job or category; `columns` renames what is shown, all else is left out.

    `worst_first` is the column to sort by, smallest values first; `link` is where a click on a row leads.
    """
    panel = _framed(table.Panel(), title, description, unit, width, height=8)
    for name, query in zip(_NAMES, queries, strict=False):
        panel.with_target(_target(query, name, instant=True, as_table=True))
    if len(queries) > 1:
        panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        models.DataTransformerConfig(
            id_val="filterFieldsByName", options={"include": {"names": list(columns)}}
        )
    )
    panel.with_transformation(
        models.DataTransformerConfig(id_val="organize", options={"renameByName": dict(columns)})
    )
    if worst_first:
        panel.sort_by([common.TableSortByFieldState().display_name(worst_first).desc(desc=False)])
    if link:
        panel.data_links([dashboard.DashboardLink("Job").url(link)])
    return panel


def by_iteration(
    title: str, description: str, query: str, iteration: str, *, width: int = 12
) -> xychart.Panel:
    """A value over the iteration that it belongs to, a series for each job."""
    panel = _framed(xychart.Panel(), title, description, "short", width, height=8)
    for name, expr in zip(_NAMES, (iteration, query), strict=False):
        panel.with_target(_target(Query(expr), name, as_table=True))
    transformations: tuple[tuple[str, dict[str, object]], ...] = (
        ("merge", {}),
        ("organize", {"renameByName": {"Value #A": "iteration", "Value #B": "value"}}),
        (
            "filterFieldsByName",
            {"include": {"names": ["iteration", "value", "training_job"]}},
        ),
        ("sortBy", {"sort": [{"field": "iteration"}]}),
        ("partitionByValues", {"fields": ["training_job"], "naming": {"asLabels": True}}),
    )
    for kind, options in transformations:
        panel.with_transformation(models.DataTransformerConfig(id_val=kind, options=options))
    return panel.mapping(SeriesMapping.AUTO)


def _framed(panel: P, title: str, description: str, unit: str, width: int, *, height: int) -> P:
    panel.title(title).description(description).datasource(DATASOURCE)
    panel.unit(unit).span(width).height(height)
    return panel


def _target(
    query: Query, name: str = "A", *, instant: bool = False, as_table: bool = False
) -> prometheus.Dataquery:
    target = prometheus.Dataquery().datasource(DATASOURCE).ref_id(name)
    target.expr(query.expr).legend_format(query.legend)
    if as_table:
        target.format(PromQueryFormat.TABLE)
    return target.instant() if instant else target.range()


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> dashboard.ThresholdsConfig:
    named = [models.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(named)
