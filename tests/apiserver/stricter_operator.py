"""As after an upgrade, an operator that takes no spec: `python -m tests.apiserver.stricter_operator`."""

from __future__ import annotations

from typing import NoReturn

from detectron_operator import __main__ as operator
from detectron_operator.api import SpecError
from detectron_operator.engine import controller


def _refuse(raw: object) -> NoReturn:
    raise SpecError("spec.config", "has a form that this operator does not know")


def main() -> None:
    """Run it with the command line as its flags."""
    vars(controller)["parse"] = _refuse
    operator.main()


if __name__ == "__main__":
    main()
