"""The operator as in a pod, by its service account: `python -m tests.apiserver.in_a_pod FOLDER flags...`.

The folder is the account's, with `token` and `ca.crt`; KUBERNETES_SERVICE_HOST and _PORT lead to the API
server. The client library reads the token again after a minute there, and here after a second.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from kubernetes.aio.config import incluster_config

from detectron_operator import __main__ as operator


class Loader(incluster_config.InClusterConfigLoader):  # type: ignore[misc]  # kubernetes ships no types
    """Does not wait for long until it looks for another token."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._token_refresh_period = timedelta(seconds=1)


def main() -> None:
    """Run the operator with the rest of the command line as its flags."""
    folder = Path(sys.argv.pop(1))
    names = vars(incluster_config)
    names["SERVICE_TOKEN_FILENAME"] = str(folder / "token")
    names["SERVICE_CERT_FILENAME"] = str(folder / "ca.crt")
    names["InClusterConfigLoader"] = Loader
    operator.main()


if __name__ == "__main__":
    main()
