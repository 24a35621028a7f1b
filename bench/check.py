"""What `detectron-trainer check` costs on a large COCO dataset, on one core.

    python -m bench.check --images 100000

makes two datasets, one of a tenth of the images, with COCO's density of instances and outlines, and an empty
file for each image. Rounds alternate between them. Every run is a process of its own, bound to one core.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.report import machine

INSTANCES_AN_IMAGE = 7
CORNERS = 25
CLASSES = 80
WIDTH, HEIGHT = 640, 480


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One check: seconds by the clock and of CPU, peak of resident memory in MiB, size of the file in MiB."""

    images: int
    file: float
    wall: float
    cpu: float
    peak: float


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-check-") as name:
        jobs = {}
        for images in (options.images // 10, options.images):
            folder = Path(name) / str(images)
            print(f"writing {images} images", file=sys.stderr)
            write_dataset(folder, images)
            jobs[images] = folder
        rounds = [check(images, folder) for _ in range(options.rounds) for images, folder in jobs.items()]
    print(table(rounds))
    print(json.dumps({"machine": machine(), "rounds": [asdict(one) for one in rounds]}, indent=2))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000, help="of the larger dataset (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="checks of each dataset (%(default)s)")
    return parser


def write_dataset(folder: Path, images: int) -> None:
    """A job, its COCO file and its images in `folder`."""
    rng = random.Random(images)
    (folder / "images").mkdir(parents=True)
    records = [
        {"id": n, "file_name": f"{n:012}.jpg", "width": WIDTH, "height": HEIGHT} for n in range(images)
    ]
    for record in records:
        (folder / "images" / str(record["file_name"])).touch()
    categories = [{"id": number, "name": f"class {number}"} for number in range(CLASSES)]
    with (folder / "annotations.json").open("w") as file:
        file.write(
            f'{{"categories": {json.dumps(categories)}, "images": {json.dumps(records)}, "annotations": ['
        )
        for number in range(images * INSTANCES_AN_IMAGE):
            file.write("," * bool(number) + json.dumps(_annotation(number, rng)))
        file.write("]}")
    (folder / "job.json").write_text(json.dumps(_job(folder)))


def _annotation(number: int, rng: random.Random) -> dict[str, object]:
    width, height = rng.uniform(5, WIDTH / 2), rng.uniform(5, HEIGHT / 2)
    left, top = rng.uniform(0, WIDTH - width), rng.uniform(0, HEIGHT - height)
    corners = ((left + width * rng.random(), top + height * rng.random()) for _ in range(CORNERS))
    return {
        "id": number,
        "image_id": number // INSTANCES_AN_IMAGE,
        "category_id": rng.randrange(CLASSES),
        "bbox": [round(value, 2) for value in (left, top, width, height)],
        "area": round(width * height, 2),
        "iscrowd": 0,
        "segmentation": [[round(value, 2) for corner in corners for value in corner]],
    }


def _job(folder: Path) -> dict[str, object]:
    places = {"annotations": str(folder / "annotations.json"), "images": str(folder / "images")}
    return {
        "apiVersion": "detectron.dev/v1alpha1",
        "kind": "DetectronTrainingJob",
        "metadata": {"name": "large"},
        "spec": {
            "config": {"base": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"},
            "datasets": [{"name": "large_train", "split": "train", **places}],
            "output": {"ephemeral": True},
        },
    }


def check(images: int, folder: Path) -> Cost:
    """Run the command on one core; what it cost.

    Raises:
        RuntimeError: it found a problem.
    """
    command = [sys.executable, "-m", "detectron_trainer.command.cli", "check", str(folder / "job.json")]
    started = time.monotonic()
    pid = os.posix_spawn(
        "/usr/bin/env",
        ["env", "taskset", "--cpu-list", str(max(os.sched_getaffinity(0))), *command],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, used = os.wait4(pid, 0)
    wall = time.monotonic() - started
    if status != 0:
        raise RuntimeError(f"the check of {images} images ended with status {status}")
    return Cost(
        images=images,
        file=(folder / "annotations.json").stat().st_size / 2**20,
        wall=wall,
        cpu=used.ru_utime + used.ru_stime,
        peak=used.ru_maxrss / 1024,
    )


def table(rounds: Sequence[Cost]) -> str:
    """One row a dataset: medians, and least and most by the clock."""
    lines = [
        "| images | annotations | file | by the clock | CPU | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    for images in sorted({one.images for one in rounds}):
        costs = [one for one in rounds if one.images == images]
        walls = [one.wall for one in costs]
        lines.append(
            f"| {images} | {images * INSTANCES_AN_IMAGE} | {costs[0].file:.0f} MiB "
            f"| {statistics.median(walls):.1f} s ({min(walls):.1f} to {max(walls):.1f}) "
            f"| {statistics.median(one.cpu for one in costs):.1f} s "
            f"| {statistics.median(one.peak for one in costs):.0f} MiB |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
