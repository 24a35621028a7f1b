"""Write every page: `python -m reference`."""

from __future__ import annotations

from pathlib import Path

from reference import reasons

PAGES = {"reasons.md": reasons.page}
"""By the name of the file in docs/."""

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    """Replace the pages by those of today."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())


if __name__ == "__main__":
    main()
