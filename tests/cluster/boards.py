"""The boards' queries as Grafana sends them, with its variables filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dashboards.pictures import model
from dashboards.pictures.answers import fill

FOLDER = Path(__file__).parents[2] / "charts" / "detectron-operator" / "files" / "dashboards"


@dataclass(frozen=True)
class PanelQuery:
    """One query of a panel."""

    board: str
    panel: str
    expr: str

    def __str__(self) -> str:
        return f"{self.board}: {self.panel}: {self.expr}"


def queries(variables: Mapping[str, str]) -> Iterator[PanelQuery]:
    """Every query of every board that the chart ships.

    Raises:
        VariableError: a board uses a variable that `variables` does not give.
    """
    for path in sorted(FOLDER.glob("*.json")):
        board = model.parse(path.read_text())
        for panel in board.panels:
            for target in panel.targets:
                yield PanelQuery(board.uid, panel.title, fill(target.expr, variables))
