"""PrometheusWriter on Detectron2's own event storage, in scripts that know nothing else of the trainer."""

import json
import math
import shutil
import socket
import subprocess
import sys
import urllib.request
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage, JSONWriter
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from detectron_trainer import PrometheusWriter
from detectron_trainer.failures import PreemptedError
from detectron_trainer.metrics.data_wait import data_wait_ratio
from detectron_trainer.metrics.progress_writer import ProgressWriter
from detectron_trainer.metrics.series_limits import MAX_LOSSES
from detectron_trainer.progress.board import ProgressBoard
from detectron_trainer.progress.document import Progress
from detectron_trainer.progress.parts import Phase

NOW = datetime(2026, 10, 7, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def train(storage: EventStorage, iteration: int) -> None:
    """Put what Detectron2's SimpleTrainer and its hooks put in one iteration."""
    storage.iter = iteration
    losses = {"loss_cls": 1 / (iteration + 1), "loss_mask": math.sin(iteration) + 2}
    storage.put_scalars(total_loss=sum(losses.values()), data_time=0.004, **losses)
    storage.put_scalar("lr", np.float64(0.02 * (iteration + 1)), smoothing_hint=False)
    storage.put_scalar("time", 0.2 + iteration / 1000)


def exposed(registry: CollectorRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples by name and labels, as they are after text exposition."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(writer: PrometheusWriter, name: str, /, **labels: str) -> float | None:
    return exposed(writer.registry).get((name, tuple(sorted(labels.items()))))


def test_values_are_those_of_metrics_json(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    writer, rows = PrometheusWriter(max_iter=60), JSONWriter(str(path))
    seen = []
    with EventStorage(0) as storage:
        for iteration in range(60):
            train(storage, iteration)
            if iteration % 20 == 19:
                writer.write()
                rows.write()
                seen.append(exposed(writer.registry))
    rows.close()

    recorded = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(recorded) == 3
    for row, samples in zip(recorded, seen, strict=True):
        assert samples["detectron_training_iteration", ()] == row["iteration"]
        assert samples["detectron_training_total_loss", ()] == row["total_loss"]
        assert samples["detectron_training_learning_rate", ()] == row["lr"]
        for loss in ("loss_cls", "loss_mask"):
            assert samples["detectron_training_loss", (("loss", loss),)] == row[loss]


def test_the_total_is_no_component() -> None:
    writer = PrometheusWriter()
    with EventStorage(0) as storage:
        train(storage, 0)
        writer.write()

    components = [labels for name, labels in exposed(writer.registry) if name == "detectron_training_loss"]
    assert sorted(components) == [(("loss", "loss_cls"),), (("loss", "loss_mask"),)]


def test_each_iteration_is_in_the_histograms_once() -> None:
    writer = PrometheusWriter(images_per_iteration=16)
    with EventStorage(0) as storage:
        for iteration in range(50):
            train(storage, iteration)
            if iteration % 20 == 19:
                writer.write()
                writer.write()
        writer.write()

    samples = exposed(writer.registry)
    durations = [0.2 + iteration / 1000 for iteration in range(50)]
    name = "detectron_training_iteration_duration_seconds"
    assert samples[f"{name}_count", ()] == 50
    assert samples[f"{name}_sum", ()] == pytest.approx(sum(durations))
    assert samples[f"{name}_bucket", (("le", "0.2"),)] == 1
    assert samples[f"{name}_bucket", (("le", "0.3"),)] == 50
    assert samples["detectron_training_data_loading_duration_seconds_count", ()] == 50
    assert samples["detectron_training_iterations_total", ()] == 50
    assert samples["detectron_training_images_total", ()] == 800


def test_a_resumed_run_counts_only_its_own_work() -> None:
    found, told = PrometheusWriter(max_iter=90), PrometheusWriter(max_iter=90)
    told.set_start_iteration(41)
    with EventStorage(40) as storage:
        # The first of them stands for values that a checkpoint brought along.
        for iteration in range(40, 60):
            train(storage, iteration)
        found.write()
        told.write()

    for writer, start in ((found, 40), (told, 41)):
        assert value(writer, "detectron_training_start_iteration") == start
        assert value(writer, "detectron_training_iterations_total") == 60 - start
        assert value(writer, "detectron_training_iteration_duration_seconds_count") == 60 - start


def test_the_time_that_is_left_includes_pauses() -> None:
    clock = Clock()
    writer = PrometheusWriter(max_iter=100, monotonic_clock=clock)
    with EventStorage(0) as storage:
        train(storage, 9)
        writer.write()
        clock.now += 50
        train(storage, 19)
        writer.write()

    assert value(writer, "detectron_training_eta_seconds") == 80 * 5


def test_a_late_evaluation_is_exported_though_metrics_json_drops_it(tmp_path: Path) -> None:
    clock = Clock()
    writer = PrometheusWriter(dataset="digits", clock=clock)
    rows = JSONWriter(str(tmp_path / "metrics.json"))
    with EventStorage(0) as storage:
        train(storage, 19)
        writer.write()
        rows.write()
        clock.now = 2000.0
        storage.put_scalar("bbox/AP", np.float64(35.5), smoothing_hint=False)
        writer.write()
        rows.write()
    rows.close()

    assert "bbox/AP" not in (tmp_path / "metrics.json").read_text()
    labels = {"dataset": "digits", "task": "bbox", "kind": "AP"}
    assert value(writer, "detectron_evaluation_average_precision_ratio", **labels) == 0.355
    assert value(writer, "detectron_training_last_evaluation_iteration") == 19
    assert value(writer, "detectron_training_last_evaluation_timestamp_seconds") == 2000.0


def test_an_old_evaluation_keeps_its_date() -> None:
    clock = Clock()
    writer = PrometheusWriter(clock=clock)
    with EventStorage(0) as storage:
        train(storage, 0)
        storage.put_scalar("segm/AP50", 71.0, smoothing_hint=False)
        writer.write()
        clock.now = 5000.0
        train(storage, 500)
        writer.write()

    assert value(writer, "detectron_training_last_evaluation_iteration") == 0
    assert value(writer, "detectron_training_last_evaluation_timestamp_seconds") == 1000.0
    assert value(writer, "detectron_training_last_write_timestamp_seconds") == 5000.0


def test_an_evaluation_is_exported_at_once_and_replaced_by_the_next() -> None:
    writer = PrometheusWriter()
    labels = {"dataset": "digits", "task": "bbox"}
    name = "detectron_evaluation_average_precision_ratio"

    writer.observe_evaluation({"digits": {"bbox": {"AP": 12.5, "APs": 3.0}}}, iteration=9)
    assert value(writer, name, kind="AP", **labels) == 0.125
    # Nothing small was found this time: COCO says NaN, and no old value may stand for it.
    writer.observe_evaluation({"digits": {"bbox": {"AP": 25.0, "APs": math.nan}}}, iteration=19)

    assert value(writer, name, kind="AP", **labels) == 0.25
    assert value(writer, name, kind="APs", **labels) is None


def test_a_loss_that_is_no_longer_put_disappears() -> None:
    writer = PrometheusWriter()
    with EventStorage(0) as storage:
        train(storage, 18)
        storage.put_scalar("loss_warmup", 0.5)
        train(storage, 19)
        writer.write()
        writer.write()
        assert value(writer, "detectron_training_loss", loss="loss_warmup") == 0.5
        train(storage, 39)
        writer.write()

    assert value(writer, "detectron_training_loss", loss="loss_warmup") is None
    assert value(writer, "detectron_training_loss", loss="loss_cls") is not None


def test_a_loss_that_is_not_a_number_is_shown_as_such() -> None:
    writer = PrometheusWriter()
    with EventStorage(0) as storage:
        storage.put_scalars(total_loss=math.nan, loss_cls=math.nan)
        writer.write()

    total = value(writer, "detectron_training_total_loss")
    assert total is not None
    assert math.isnan(total)


def test_before_the_first_write_nothing_is_claimed() -> None:
    names = {name for name, _ in exposed(PrometheusWriter(max_iter=7).registry)}

    assert "detectron_training_max_iterations" in names
    assert names.isdisjoint({"detectron_training_total_loss", "detectron_training_iteration"})


def test_categories_are_exported_on_demand_up_to_a_limit() -> None:
    silent, limited = PrometheusWriter(), PrometheusWriter(categories=2)
    results = {"digits": {"bbox": {"AP": 50.0, "AP-one": 40.0, "AP-two": 60.0, "AP-three": 50.0}}}
    for writer in (silent, limited):
        writer.observe_evaluation(results, iteration=0)

    name = "detectron_evaluation_category_average_precision_ratio"
    assert not [series for series, _ in exposed(silent.registry) if series == name]
    assert value(silent, "detectron_training_dropped_scalars_total") == 0
    assert value(limited, name, dataset="digits", task="bbox", category="two") == 0.6
    assert value(limited, name, dataset="digits", task="bbox", category="three") is None
    assert value(limited, "detectron_training_dropped_scalars_total") == 1


def test_other_scalars_are_exported_by_pattern() -> None:
    writer = PrometheusWriter(scalars=["roi_head/*"])
    with EventStorage(0) as storage:
        storage.put_scalars(**{"roi_head/num_fg_samples": 12.0, "rpn/num_pos_anchors": 7.0})
        writer.write()

    assert value(writer, "detectron_training_scalar", name="roi_head/num_fg_samples") == 12
    assert value(writer, "detectron_training_scalar", name="rpn/num_pos_anchors") is None


def test_the_number_of_series_is_bounded() -> None:
    writer = PrometheusWriter()
    with EventStorage(0) as storage:
        for number in range(MAX_LOSSES + 10):
            storage.put_scalar(f"loss_{number}", 1.0)
        writer.write()
        writer.write()

    series = [labels for name, labels in exposed(writer.registry) if name == "detectron_training_loss"]
    assert len(series) == MAX_LOSSES
    assert value(writer, "detectron_training_dropped_scalars_total") == 10


def test_labels_that_prometheus_sets_itself_are_refused() -> None:
    with pytest.raises(ValueError, match="instance, job"):
        PrometheusWriter(info={"job": "x", "instance": "y", "model": "z"})


def test_the_run_is_described() -> None:
    writer = PrometheusWriter(info={"model": "GeneralizedRCNN", "world_size": "4"})
    writer.observe_checkpoint(NOW)

    (labels,) = (
        dict(labels) for name, labels in exposed(writer.registry) if name == "detectron_training_info"
    )
    assert labels["model"] == "GeneralizedRCNN"
    assert {"detectron2", "torch", "cuda"} <= labels.keys()
    assert value(writer, "detectron_training_last_checkpoint_timestamp_seconds") == NOW.timestamp()


def test_close_tells_why_the_run_ended() -> None:
    completed, failed, stopped, told = (PrometheusWriter() for _ in range(4))
    completed.close()
    with (
        pytest.raises(FloatingPointError),
        closing(failed),
    ):  # in a `finally`, as Detectron2's TrainerBase does
        raise FloatingPointError("Loss became infinite or NaN")
    with pytest.raises(PreemptedError), closing(stopped):
        raise PreemptedError("asked to stop")
    told.set_exit_reason("OutOfTime")
    told.close()

    for writer, reason in (
        (completed, "Completed"),
        (failed, "FloatingPointError"),
        (stopped, "Preempted"),
        (told, "OutOfTime"),
    ):
        assert value(writer, "detectron_training_exit_info", reason=reason) == 1


def put_on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make torch say what it says of a process that trains on the second of several GPUs."""
    answers = {
        "is_available": True,
        "is_initialized": True,
        "current_device": 1,
        "memory_allocated": 3 * 2**30,
        "max_memory_allocated": 5 * 2**30,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)


def test_gpu_memory_is_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = PrometheusWriter()
    put_on_gpu(monkeypatch)
    with EventStorage(0) as storage:
        train(storage, 0)
        writer.write()

    assert value(writer, "detectron_training_gpu_memory_allocated_bytes", device="1") == 3 * 2**30
    assert value(writer, "detectron_training_gpu_memory_peak_bytes", device="1") == 5 * 2**30


def test_promtool_finds_nothing_to_criticise(monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_gpu(monkeypatch)
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is missing: install Debian's package prometheus"
    writer = PrometheusWriter(
        max_iter=40, images_per_iteration=16, scalars=["*_time"], categories=5, info={"model": "RetinaNet"}
    )
    with EventStorage(0) as storage:
        for iteration in range(20):
            train(storage, iteration)
        storage.put_scalars(**{"bbox/AP": 30.0, "bbox/AP-one": 20.0}, smoothing_hint=False)
        writer.write()
    writer.observe_checkpoint(NOW)
    writer.close()
    text = generate_latest(writer.registry)
    check = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)

    assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")
    assert b"_created" not in text


def test_a_taken_port_does_not_stop_training(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        writer = PrometheusWriter(max_iter=7, port=port, host="127.0.0.1")
        try:
            assert writer.port not in (None, port)
            assert f"instead of {port}" in caplog.text
            with urllib.request.urlopen(f"http://127.0.0.1:{writer.port}/metrics", timeout=10) as answer:
                assert b"detectron_training_max_iterations 7.0" in answer.read()
        finally:
            writer.close()
    assert writer.port is None


def test_closing_lingers_until_the_last_values_are_fetched() -> None:
    writer = PrometheusWriter(port=0, host="127.0.0.1", linger=60)
    url = f"http://127.0.0.1:{writer.port}/metrics"
    fetched = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys, urllib.request as r\n"
            "while b'exit_info' not in (text := r.urlopen(sys.argv[1]).read()): pass\n"
            "sys.stdout.buffer.write(text)",
            url,
        ],
        stdout=subprocess.PIPE,
    )
    writer.close()
    output, _ = fetched.communicate(timeout=30)

    assert b'detectron_training_exit_info{reason="Completed"} 1.0' in output


def test_a_starved_run_shows() -> None:
    registry = CollectorRegistry()
    writer = PrometheusWriter(registry=registry)
    with EventStorage(0) as storage:
        storage.put_scalars(total_loss=1.0, data_time=0.5)
        writer.write()
        assert registry.get_sample_value("detectron_training_data_wait_ratio") is None
        for iteration in range(40):
            storage.iter = iteration
            # One iteration in ten waits; before the last twenty all did.
            waits = iteration < 20 or iteration % 10 == 0
            storage.put_scalars(total_loss=1.0, time=1.8 if waits else 0.8, data_time=1.0 if waits else 0.0)
        writer.write()
    ratio = registry.get_sample_value("detectron_training_data_wait_ratio")
    assert ratio == pytest.approx(2 * 1.0 / (2 * 1.8 + 18 * 0.8))


@pytest.mark.parametrize(("waited", "took", "ratio"), [(2.0, 1.0, 1.0), (0.0, 1.0, 0.0), (0.0, 0.0, None)])
def test_the_share_of_waiting_is_one(waited: float, took: float, ratio: float | None) -> None:
    with EventStorage(0) as storage:
        storage.put_scalars(time=took, data_time=waited)
        assert data_wait_ratio(storage, 20) == ratio


def test_it_stands_alone() -> None:
    program = (
        "import sys\n"
        "from detectron_trainer import PrometheusWriter\n"
        "print(sorted(m for m in sys.modules if m.startswith('detectron_trainer.')))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout

    wanted = (
        "data_wait",
        "prometheus_writer",
        "scalars",
        "series_limits",
        "server",
        "tls",
        "training_metrics",
    )
    assert output.strip() == str(
        sorted(
            [
                *("detectron_trainer.metrics", "detectron_trainer.progress"),
                "detectron_trainer.progress.remaining_time",
                *(f"detectron_trainer.metrics.{name}" for name in wanted),
            ]
        )
    )


def test_the_progress_board_follows_the_storage() -> None:
    clock = Clock()
    initial = Progress(phase=Phase.TRAINING, attempt=0, world_size=1, iteration=0, last_updated_time=NOW)
    board = ProgressBoard(initial, clock=lambda: NOW)
    writer = ProgressWriter(board, max_iter=40, monotonic_clock=clock)
    with EventStorage(0) as storage:
        train(storage, 9)
        writer.write()
        clock.now += 20
        train(storage, 19)
        writer.write()
        smoothed = {name: value for name, (value, _) in storage.latest_with_smoothing_hint(20).items()}
        progress = board.snapshot()
        storage.iter = 40
        writer.write()

    assert (progress.iteration, progress.max_iterations) == (20, 40)
    assert progress.estimated_remaining_seconds == 20 * 2
    durations = ["time", "data_time", "data_wait_ratio"]
    assert list(progress.metrics) == ["total_loss", "lr", *durations, "loss_cls", "loss_mask"]
    ratio = 0.004 * 2 / (0.209 + 0.219)
    assert progress.metrics == pytest.approx({**smoothed, "data_wait_ratio": ratio})
    assert board.snapshot().iteration == 40
