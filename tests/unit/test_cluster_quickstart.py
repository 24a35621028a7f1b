"""The README's steps on a cluster: which there are, and that nothing to paste is left out of them."""

from __future__ import annotations

import re

from tests.cluster.quickstart import ROOT, built, steps

README = (ROOT / "README.md").read_text()


def test_the_steps_are_those_that_the_cluster_test_takes() -> None:
    assert list(steps(README)) == ["stack", "images", "operator", "packages", "data", "job", "watch", "board"]


def test_every_command_on_the_way_is_a_step() -> None:
    way = README.partition("## On a cluster")[2].partition("No cluster at hand?")[0]
    assert re.findall(r"^```sh\n(.*?)^```$", way, re.MULTILINE | re.DOTALL) == list(steps(README).values())


def test_images_are_built_pushed_and_installed_by_the_same_names() -> None:
    commands = steps(README)
    names = built(commands["images"])
    assert sorted(names.values()) == ["operator/Dockerfile", "trainer-image/Dockerfile"]
    for name, dockerfile in names.items():
        assert (ROOT / dockerfile).exists()
        assert f"docker push {name}\n" in commands["images"]
        assert f"image.repository={name.rpartition(':')[0]} " in commands["operator"]


def test_the_tag_is_the_one_that_the_chart_asks_for() -> None:
    version = re.search(
        r"^appVersion: \"?([^\"\n]+)", (ROOT / "charts/detectron-operator/Chart.yaml").read_text(), re.M
    )
    assert version
    assert {name.rpartition(":")[2] for name in built(steps(README)["images"])} == {version[1]}
