"""`make sbom`: each package of the locks, with its version and the hashes that installing it is held to."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = yaml.safe_load((ROOT / "charts" / "detectron-operator" / "Chart.yaml").read_text())
LOCKS = {"detectron-operator": "operator.lock", "detectron-trainer": "trainer.lock"}

Package = tuple[str, str]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The documents by the name of the image, made by make with this Python's own programs."""
    folder = tmp_path_factory.mktemp("sbom")
    command = ["make", "sbom", f"PYTHON={sys.executable}", f"SBOM={folder}"]
    # Not as a part of the make that may have started the tests.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return {name: json.loads((folder / f"{name}.cdx.json").read_text()) for name in LOCKS}


def _locked(lock: str) -> dict[Package, set[str]]:
    """SHA-256 hashes by name and version, as pip reads a lock."""
    logical = (ROOT / "requirements" / lock).read_text().replace("\\\n", " ").splitlines()
    lines = [line for line in logical if line and not line.startswith("#")]
    pins = [re.match(r"([a-z0-9.-]+)==([^\s;]+)", line) for line in lines]
    assert all(pins), "every line of a lock pins a package"
    hashes = [set(re.findall(r"--hash=sha256:([0-9a-f]{64})", line)) for line in lines]
    return {(pin[1], pin[2]): found for pin, found in zip(pins, hashes, strict=True) if pin}


def _listed(document: Any) -> dict[Package, set[str]]:
    return {
        (component["name"], component["version"]): {
            item["content"]
            for reference in component["externalReferences"]
            for item in reference["hashes"]
            if item["alg"] == "SHA-256"
        }
        for component in document["components"]
    }


@pytest.mark.parametrize("image", LOCKS)
def test_every_locked_package_is_listed_with_its_hashes(documents: dict[str, Any], image: str) -> None:
    locked = _locked(LOCKS[image])
    assert len(locked) > 10
    assert all(locked.values())
    assert _listed(documents[image]) == locked


@pytest.mark.parametrize("image", LOCKS)
def test_it_is_about_the_released_version(documents: dict[str, Any], image: str) -> None:
    whole = documents[image]["metadata"]["component"]
    assert (whole["name"], whole["version"]) == (image, CHART["appVersion"])


@pytest.mark.parametrize("image", LOCKS)
def test_it_has_what_signing_it_asks_for(documents: dict[str, Any], image: str) -> None:
    """The release's actions/attest takes a CycloneDX document by these three, and up to 16 MiB."""
    document = documents[image]
    assert document["bomFormat"] == "CycloneDX"
    assert document["specVersion"]
    assert document["serialNumber"].startswith("urn:uuid:")
    assert len(json.dumps(document)) < 2**24
