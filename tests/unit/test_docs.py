"""What the documents point to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("*.md", "charts/**/*.md", "docs/**/*.md", "examples/**/*.md")
DOCUMENTS = sorted(path for pattern in PLACES for path in ROOT.glob(pattern))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_named_tests_exist(document: Path) -> None:
    text = document.read_text()
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", text)
    missing = [link for link in links if not (document.parent / link).exists()]
    tests = re.findall(r"`((?:tests|bench|charts|dashboards|examples|crds)/[\w./-]+)`", text)
    missing += [path for path in tests if not (ROOT / path).exists()]
    assert missing == []
