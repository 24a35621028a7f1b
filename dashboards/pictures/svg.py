"""The few shapes of a picture, as SVG elements."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass

INK, FAINT, GRID = "#1f2933", "#6b7785", "#e3e8ee"
PALETTE = (
    "#1f77b4",
    "#e08214",
    "#2a9d5c",
    "#c0392b",
    "#7b5ea7",
    "#8c6d4f",
    "#d16ba5",
    "#5f6b76",
    "#a0a000",
    "#17a2b8",
)
COLORS = {"blue": "#1f77b4", "green": "#2a9d5c", "orange": "#e08214", "red": "#c0392b", "purple": "#7b5ea7"}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_EM = 0.56
"""Width of a letter over the size of its font, about."""


@dataclass(frozen=True)
class Area:
    """A rectangle in pixels, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    def inside(self, left: float, top: float, right: float, bottom: float) -> Area:
        """What margins leave of it."""
        return Area(self.x + left, self.y + top, self.width - left - right, self.height - top - bottom)


@dataclass(frozen=True)
class Canvas:
    """Draws into an SVG element."""

    element: ET.Element

    @classmethod
    def blank(cls, width: float, height: float) -> Canvas:
        """A white sheet."""
        sheet = ET.Element(
            "svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width:g} {height:g}"}
        )
        sheet.set("font-family", "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif")
        canvas = cls(sheet)
        canvas.box(Area(0, 0, width, height), "#f5f7fa")
        return canvas

    def group(self, kind: str) -> Canvas:
        """A canvas within this one, of a class."""
        return Canvas(self._add("g", {"class": kind}))

    def box(self, area: Area, fill: str, stroke: str = "none") -> None:
        self._add(
            "rect",
            {
                "x": area.x,
                "y": area.y,
                "width": max(area.width, 0),
                "height": area.height,
                "rx": 2,
                "fill": fill,
                "stroke": stroke,
            },
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, stroke: str = GRID, dashes: str = "none"
    ) -> None:
        self._add(
            "line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "stroke": stroke, "stroke-dasharray": dashes}
        )

    def path(self, points: Iterable[tuple[float, float]], stroke: str) -> None:
        """A line through points."""
        self._add(
            "polyline", {"points": _joined(points), "fill": "none", "stroke": stroke, "stroke-width": 1.5}
        )

    def shape(self, points: Iterable[tuple[float, float]], fill: str) -> None:
        """A translucent area between points."""
        self._add("polygon", {"points": _joined(points), "fill": fill, "fill-opacity": 0.35})

    def dot(self, x: float, y: float, fill: str) -> None:
        self._add("circle", {"cx": x, "cy": y, "r": 2, "fill": fill})

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 11,
        fill: str = INK,
        anchor: str = "start",
        width: float = 1e6,
        weight: str = "normal",
    ) -> None:
        """A line of text on the baseline y, cut where it is wider than `width`, about."""
        clean = _NOT_XML.sub("\ufffd", text)
        fits = max(int(width / (size * _EM)), 2)
        shown = clean if len(clean) <= fits else clean[: fits - 1] + "…"
        placed: dict[str, float | str] = {
            "x": x,
            "y": y,
            "font-size": size,
            "fill": fill,
            "text-anchor": anchor,
            "font-weight": weight,
        }
        element = self._add("text", placed)
        element.text = shown
        if shown != clean:
            ET.SubElement(element, "title").text = clean

    def _add(self, tag: str, attributes: dict[str, float | str]) -> ET.Element:
        told = {
            name: value if isinstance(value, str) else f"{value:.5g}" for name, value in attributes.items()
        }
        return ET.SubElement(self.element, tag, told)


def wide(text: str, size: float = 11) -> float:
    """Pixels that a text takes, about."""
    return len(text) * size * _EM


def _joined(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
