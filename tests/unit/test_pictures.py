"""The boards' pictures: every panel is there, and what was answered is what is drawn."""

from __future__ import annotations

import json
import math
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from dashboards import job
from dashboards.boards import BOARDS
from dashboards.pictures import answers, drawing, model, scale
from dashboards.pictures.__main__ import ANSWERS, FOLDER
from dashboards.pictures.answers import Answers, Series, Span, VariableError
from dashboards.pictures.model import Board, Panel
from dashboards.pictures.svg import COLORS

MODELS = [model.parse(board.to_json()) for board in BOARDS]
NAMES = [board.uid for board in MODELS]
JOB = model.parse(job.BOARD.to_json())
SPAN = Span(1000.0, 1100.0, 10.0)
TIMES = [1000.0 + 10 * number for number in range(11)]
HOSTILE = '</text><script>alert("&amp;")</script>\x00\x1b\ud800]]>'


def answered(board: Board, *series: Series) -> Answers:
    """The same series for every query of a board."""
    exprs = [target.expr for panel in board.panels for target in panel.targets]
    return Answers(SPAN, dict.fromkeys(((board.uid, expr) for expr in exprs), series))


def line(values: Sequence[float], **labels: str) -> Series:
    return Series(labels, tuple(zip(TIMES, map(float, values), strict=False)))


def alone(board: Board, title: str) -> Board:
    """A board of one panel and no marks."""
    (panel,) = (panel for panel in board.panels if panel.title == title)
    return replace(board, panels=(panel,), marks=(), headings=())


def drawn(board: Board, given: Answers) -> ET.Element:
    return ET.fromstring(drawing.draw(board, given))


def texts(element: ET.Element) -> list[str]:
    return [text.text or "" for text in element.iter(tag("text"))]


def tag(name: str) -> str:
    return f"{{http://www.w3.org/2000/svg}}{name}"


def panel_of(sheet: ET.Element, panel: Panel) -> ET.Element:
    groups = [group for group in sheet if group.get("class") == "panel"]
    (found,) = (group for group in groups if texts(group)[0] == panel.title)
    return found


def points(sheet: ET.Element) -> list[int]:
    """How many points each line has."""
    return [len((path.get("points") or "").split()) for path in sheet.iter(tag("polyline"))]


@pytest.mark.parametrize("board", MODELS, ids=NAMES)
def test_every_panel_is_in_the_picture_at_its_place(board: Board) -> None:
    one = line(range(1, 12), training_job="cats", phase="Running")
    sheet = drawn(board, answered(board, one))
    assert board.title in texts(sheet)
    assert any("not a screenshot of Grafana" in text for text in texts(sheet))
    for panel in board.panels:
        group = panel_of(sheet, panel)
        (frame, *_) = group.iter(tag("rect"))
        assert float(frame.attrib["x"]) == panel.x * drawing.COLUMN + 3
        assert not {"no data", "not recorded"} & set(texts(group)), panel.title
        assert len(list(group.iter())) > 3, f"{panel.title} is empty"


@pytest.mark.parametrize("board", MODELS, ids=NAMES)
@pytest.mark.parametrize(
    ("given", "words"),
    [((), "no data"), ((line([math.nan, math.nan], phase="Running"),), "no data")],
    ids=["nothing", "not-a-number"],
)
def test_a_panel_without_data_says_so(board: Board, given: tuple[Series, ...], words: str) -> None:
    sheet = drawn(board, answered(board, *given))
    assert texts(sheet).count(words) == len(board.panels)


def test_a_panel_whose_query_was_not_asked_says_so() -> None:
    assert texts(drawn(JOB, Answers(SPAN, {}))).count("not recorded") == len(JOB.panels)


def test_a_line_has_a_point_for_each_sample() -> None:
    given = answered(alone(JOB, "Total loss"), line(range(11)))
    assert points(drawn(alone(JOB, "Total loss"), given)) == [11]


@pytest.mark.parametrize("gap", [math.nan, math.inf, None])
def test_a_line_ends_where_samples_are_missing(gap: float | None) -> None:
    samples = [*((at, 1.0) for at in TIMES[:4]), (TIMES[4], gap), *((at, 2.0) for at in TIMES[5:])]
    series = Series({}, tuple((at, value) for at, value in samples if value is not None))
    board = alone(JOB, "Total loss")
    assert points(drawn(board, answered(board, series))) == [4, 6]


def test_a_sample_between_gaps_is_a_dot() -> None:
    board = alone(JOB, "Total loss")
    sheet = drawn(board, answered(board, line([math.nan, 1.0, math.nan, 1.0])))
    assert (points(sheet), len(list(sheet.iter(tag("circle"))))) == ([], 2)


def test_stacked_areas_add_up() -> None:
    board = alone(JOB, "Component losses")
    low, high = line([1.0] * 11, loss="loss_a"), line([2.0] * 11, loss="loss_b")
    sheet = drawn(board, answered(board, low, high))
    first, second = ([y_of(point) for point in points_of(path)] for path in sheet.iter(tag("polyline")))
    (_, above) = sheet.iter(tag("polygon"))
    assert {y_of(point) for point in points_of(above)} == {*first, *second}
    bottom = max(y_of(point) for point in points_of(next(sheet.iter(tag("polygon")))))
    assert bottom - second[0] == pytest.approx(3 * (bottom - first[0]), abs=0.5)


def points_of(shape: ET.Element) -> list[str]:
    return (shape.get("points") or "").split()


def y_of(point: str) -> float:
    return float(point.split(",")[1])


def test_a_logarithmic_axis_leaves_out_what_it_cannot_show() -> None:
    board = alone(JOB, "Learning rate")
    sheet = drawn(board, answered(board, line([0.0, 0.001, 0.01, 0.1])))
    assert points(sheet) == [3]
    steps = [y_of(point) for path in sheet.iter(tag("polyline")) for point in points_of(path)]
    assert steps[0] - steps[1] == pytest.approx(steps[1] - steps[2], abs=0.2)
    empty = drawn(board, answered(board, line([0.0, 0.0])))
    assert "no data" in texts(empty)


def test_values_over_iterations_are_joined_by_job_and_time() -> None:
    board = alone(JOB, "Total loss by iteration")
    iteration, value = board.panels[0].targets
    cats, dogs = {"training_job": "cats"}, {"training_job": "dogs"}
    given = Answers(
        SPAN,
        {
            (board.uid, iteration.expr): (Series(cats, ((1000, 5), (1010, 6), (1020, 7))),),
            (board.uid, value.expr): (
                Series(cats, ((1000, 1.5), (1010, math.nan), (1020, 1.0), (1030, 0.5))),
                Series(dogs, ((1000, 9.0),)),
            ),
        },
    )
    sheet = drawn(board, given)
    assert len(list(sheet.iter(tag("circle")))) == 2
    assert [text for text in texts(sheet) if "cats" in text or "dogs" in text] == ["cats: 1"]


def test_marks_stand_at_the_times_that_they_name() -> None:
    board = replace(alone(JOB, "Total loss"), marks=JOB.marks[:1])
    given = answered(board, line(range(11)))
    inside, outside = (1050.0 * 1000, 1050.0 * 1000), (1.0, 2000.0 * 1000)
    marked = {(board.uid, board.marks[0].expr): (line(inside), line(outside))}
    sheet = drawn(board, Answers(SPAN, {**given.series, **marked}))
    (path,) = sheet.iter(tag("polyline"))
    middle = points_of(path)[5].split(",")[0]
    (mark,) = (
        one
        for one in panel_of(sheet, board.panels[0]).iter(tag("line"))
        if one.get("stroke-dasharray") != "none"
    )
    assert float(mark.attrib["x1"]) == pytest.approx(float(middle), abs=0.1)


def test_a_number_is_the_newest_and_has_its_colour() -> None:
    board = alone(JOB, "Silence")
    for value, words, color in ((12.0, "12 s", "green"), (600.0, "10 min", "orange"), (7200.0, "2 h", "red")):
        sheet = drawn(board, answered(board, line([1.0, value, math.nan])))
        (found,) = (text for text in sheet.iter(tag("text")) if text.text == words)
        assert found.attrib["fill"] == COLORS[color]


def test_bars_are_as_long_as_their_values() -> None:
    board = alone(JOB, "Time lost by cause")
    sheet = drawn(board, answered(board, line([30.0], cause="NodeLost"), line([60.0], cause="PodDeleted")))
    blue = [one for one in sheet.iter(tag("rect")) if one.get("fill") == COLORS["blue"]]
    short, long = (float(one.attrib["width"]) for one in blue)
    assert long == pytest.approx(2 * short, abs=0.2)
    assert {"NodeLost", "30 s", "PodDeleted", "60 s"} <= set(texts(sheet))


def test_a_table_has_its_columns_and_the_worst_first() -> None:
    board = alone(JOB, "Categories, the worst first")
    good, bad = line([0.9], category="seven", task="segm"), line([0.25], category="one", task="bbox")
    found = texts(drawn(board, answered(board, good, bad)))
    assert [text for text in found if text in ("Category", "Task", "Dataset", "AP")] == [
        *board.panels[0].columns.values()
    ]
    assert [text for text in found if text.endswith("%")] == ["25%", "90%"]
    assert found.index("one") < found.index("seven")


@pytest.mark.parametrize("title", ["Categories, the worst first", "Time lost by cause", "Component losses"])
def test_what_does_not_fit_is_counted(title: str) -> None:
    board = alone(JOB, title)
    label = {
        "Categories, the worst first": "category",
        "Time lost by cause": "cause",
        "Component losses": "loss",
    }
    series = [line([1.0, 2.0], **{label[title]: f"name-{number:03}"}) for number in range(60)]
    found = texts(drawn(board, answered(board, *series)))
    shown = [text for text in found if text.startswith("name-")]
    (more,) = (text for text in found if text.startswith("and "))
    assert len(shown) + int(more.split()[1]) == 60


def test_a_phase_is_a_band_for_as_long_as_it_was() -> None:
    board = alone(JOB, "Phases")
    sheet = drawn(
        board, answered(board, line([1, 1, 1, 0, 0], phase="Pending"), line([0, 0, 0, 1, 1], phase="Running"))
    )
    bands = [group for group in sheet.iter(tag("g")) if group.get("class") == "series"]
    (pending,), (running,) = (list(band.iter(tag("rect"))) for band in bands)
    assert float(running.attrib["x"]) == pytest.approx(end_of(pending), abs=0.1)
    assert float(pending.attrib["width"]) == pytest.approx(1.5 * float(running.attrib["width"]), abs=0.1)


def end_of(box: ET.Element) -> float:
    return float(box.attrib["x"]) + float(box.attrib["width"])


@pytest.mark.parametrize("board", MODELS, ids=NAMES)
def test_no_label_leaves_the_text_that_it_is_in(board: Board) -> None:
    names = (
        "training_job",
        "phase",
        "loss",
        "reason",
        "cause",
        "category",
        "task",
        "dataset",
        "activity",
        "result",
    )
    text = drawing.draw(board, answered(board, line(range(1, 12), **dict.fromkeys(names, HOSTILE))))
    sheet = ET.fromstring(text.encode())
    assert {element.tag for element in sheet.iter()} <= set(
        map(tag, ("svg", "g", "rect", "line", "polyline", "polygon", "circle", "text", "title"))
    )
    assert any("</text><script>" in words for words in texts(sheet))


def test_a_panel_of_an_unknown_kind_is_refused() -> None:
    board = alone(JOB, "Total loss")
    odd = replace(board, panels=(replace(board.panels[0], kind="piechart"),))
    with pytest.raises(drawing.PanelError, match="Total loss: there is no picture of a piechart"):
        drawing.draw(odd, answered(odd, line([1.0])))


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.1234, "percentunit", "12.3%"),
        (0.0042, "s", "4.2 ms"),
        (150.0, "dtdurations", "2.5 min"),
        (0.0, "s", "0 s"),
        (3 * 1024.0**3, "bytes", "3 GiB"),
        (600.0, "none", "600"),
        (0.41212, "short", "0.4121"),
        (25_000.0, "short", "25 k"),
        (2.5e6, "short", "2.5 M"),
        (math.inf, "s", "inf"),
    ],
)
def test_numbers_are_told_with_their_unit(value: float, unit: str, words: str) -> None:
    assert scale.told(value, unit) == words


@pytest.mark.parametrize("values", [[5.0], [0.0], [-3.0, 4.0], [1e-9, 2e-9], [1e12, 1e12 + 1], [99.0, 100.0]])
def test_an_axis_holds_all_values_between_round_ends(values: list[float]) -> None:
    axis = scale.linear(values)
    assert axis.ticks[0] == axis.low <= min(values) <= max(values) <= axis.high == axis.ticks[-1]
    assert 2 <= len(axis.ticks) <= 8
    assert all(0 <= axis.at(value) <= 1 for value in values)


def test_answers_are_kept_as_they_were() -> None:
    odd = line([1.0, math.inf, -math.inf], a='"\\\n', b="ü")
    given = Answers(SPAN, {("board", 'x{y="z"}'): (odd, line([2.5])), ("board", "nothing"): ()})
    assert answers.from_json(given.to_json()) == given


def test_every_query_is_asked_with_its_variables_filled_in() -> None:
    asked: list[tuple[str, bool]] = []

    def ask(expr: str, span: Span, instant: bool) -> Iterator[Series]:
        assert span == SPAN
        asked.append((expr, instant))
        yield line([1.0])

    spans = dict.fromkeys(("__rate_interval", "__range", "__interval"), "5m")
    found = answers.record(MODELS, {"training_job": "cats", "loss": "loss_mask", **spans}, SPAN, ask)
    assert not [expr for expr, _ in asked if "$" in expr]
    assert any('namespace=~".*",training_job="cats"' in expr for expr, _ in asked)
    assert any('namespace=~".*",training_job=~".*",loss="loss_mask"' in expr for expr, _ in asked)
    assert {instant for _, instant in asked} == {True, False}
    for board in MODELS:
        assert not [
            panel for panel in board.panels for t in panel.targets if (board.uid, t.expr) not in found.series
        ]
        assert not [mark for mark in board.marks if (board.uid, mark.expr) not in found.series]


def test_a_variable_without_a_value_is_named() -> None:
    with pytest.raises(VariableError, match=r"nothing says what \$training_job is"):
        answers.fill('x{training_job="$training_job"}', {})


def test_a_prometheus_is_asked_by_its_api() -> None:
    seen: list[tuple[str, dict[str, list[str]]]] = []

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            seen.append((url.path, parse_qs(url.query)))
            sample = (
                {"values": [[1, "1.5"], [2, "NaN"]]} if url.path.endswith("range") else {"value": [3, "+Inf"]}
            )
            result = [{"metric": {"a": "b"}, **sample}]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"status": "success", "data": {"result": result}}).encode())

        def log_message(self, format: str, *args: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ask = answers.prometheus(f"http://127.0.0.1:{server.server_port}/")
        (series,) = ask("up", SPAN, False)
        (newest,) = ask("up", SPAN, True)
        server.shutdown()
    assert series.labels == {"a": "b"}
    assert series.samples[0] == (1.0, 1.5)
    assert math.isnan(series.samples[1][1])
    assert newest.samples == ((3.0, math.inf),)
    assert seen == [
        ("/api/v1/query_range", {"query": ["up"], "start": ["1000.0"], "end": ["1100.0"], "step": ["10.0"]}),
        ("/api/v1/query", {"query": ["up"], "time": ["1100.0"]}),
    ]


EMPTY = {
    "GPU memory": "needs a GPU",
    "Silence": "the job of the picture has ended",
}
"""Panels without data, and why."""


@pytest.mark.parametrize("board", MODELS, ids=NAMES)
def test_the_docs_have_what_is_drawn_from_the_recorded_answers(board: Board) -> None:
    picture = drawing.draw(board, answers.from_json(ANSWERS.read_text()))
    assert "not recorded" not in picture, "a query is new: `make boards`"
    assert (FOLDER / f"{board.uid}.svg").read_text() == picture, "run `python -m dashboards.pictures draw`"


@pytest.mark.parametrize("board", MODELS, ids=NAMES)
def test_the_pictures_of_the_docs_show_something_in_every_panel(board: Board) -> None:
    sheet = ET.fromstring((FOLDER / f"{board.uid}.svg").read_text())
    assert {p.title for p in board.panels if "no data" in texts(panel_of(sheet, p))} <= EMPTY.keys()
