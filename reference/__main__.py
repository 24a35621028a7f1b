"""Write every page: `python -m reference`."""

from __future__ import annotations

from pathlib import Path

from reference import reasons, values

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {DOCS / "reasons.md": reasons.page, values.CHART / "README.md": values.page}


def main() -> None:
    """Replace the pages by those of today."""
    for file, page in PAGES.items():
        file.write_text(page())


if __name__ == "__main__":
    main()
