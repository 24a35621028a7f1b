"""Write every board into the chart: `python -m dashboards`."""

from __future__ import annotations

from pathlib import Path

from dashboards.boards import BOARDS

FOLDER = Path(__file__).parents[1] / "charts" / "detectron-operator" / "files" / "dashboards"


def main() -> None:
    """Replace the folder's boards by those of today."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for stale in FOLDER.glob("*.json"):
        stale.unlink()
    for board in BOARDS:
        (FOLDER / f"{board.uid}.json").write_text(board.to_json())


if __name__ == "__main__":
    main()
