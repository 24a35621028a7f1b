"""The layout's rules that no tool checks."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPERATOR = ROOT / "operator" / "src" / "detectron_operator"
FORBIDDEN_HANDLERS = {"create", "update", "resume", "field", "delete", "timer", "daemon", "index"}


@pytest.mark.parametrize("folder", [ROOT, ROOT / "operator", ROOT / "trainer-image"])
def test_the_standard_library_s_operator_is_not_shadowed(folder: Path) -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    program = "import operator; assert operator.itemgetter(0)([7]) == 7; import collections"
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)


def _kopf_handlers(source: str) -> set[str]:
    """Names of kopf's decorators in a module: `kopf.on.event` gives `event`, `kopf.timer` gives `timer`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            base = ast.unparse(node.value)
            if base in ("kopf", "kopf.on", "on"):
                found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kopf":
            found |= {alias.name for alias in node.names}
    return found


def test_the_check_sees_every_way_to_write_a_handler() -> None:
    source = "from kopf import daemon\n@kopf.on.create('x')\ndef f(): ...\n@kopf.timer('x')\ndef g(): ...\n"
    assert _kopf_handlers(source) & FORBIDDEN_HANDLERS == {"daemon", "create", "timer"}


def test_no_handler_that_writes_to_the_job() -> None:
    """Such handlers put finalizers or annotations on every object, which then outlive the operator."""
    modules = sorted(OPERATOR.rglob("*.py"))
    assert any("event" in _kopf_handlers(module.read_text()) for module in modules)
    used = {str(m.relative_to(ROOT)): _kopf_handlers(m.read_text()) & FORBIDDEN_HANDLERS for m in modules}
    assert {module: names for module, names in used.items() if names} == {}
