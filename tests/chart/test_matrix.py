"""What is installed in the variants of tests/matrix, before a cluster is asked."""

from __future__ import annotations

import kubernetes_validate
import pytest

from tests.chart.helm import of_kind, template
from tests.chart.test_chart import UNKNOWN_KINDS
from tests.matrix.variants import USERS, Variant, variants

VARIANTS = variants(f"sha256:{'0' * 64}", f"sha256:{'1' * 64}")


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_every_manifest_is_valid(variant: Variant) -> None:
    for manifest in template(dict(variant.values)):
        if manifest["kind"] not in UNKNOWN_KINDS:
            kubernetes_validate.validate(manifest, "1.34", strict=True)


def test_what_is_installed_beside_the_jobs_is_in_their_namespace() -> None:
    (owned,) = (variant for variant in VARIANTS if variant.namespace == USERS)
    manifests = template(dict(owned.values))
    assert all("namespace" in manifest["metadata"] for manifest in manifests)
    assert of_kind(manifests, "ServiceAccount") == []
