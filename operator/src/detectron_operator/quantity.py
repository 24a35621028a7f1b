"""Kubernetes quantities, such as `500m`, `16Gi` and `1e3`."""

from __future__ import annotations

import re
from decimal import Decimal

_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?"
)
_DECIMAL_POWERS = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_FACTORS: dict[str | None, Decimal] = {
    None: Decimal(1),
    **{unit: Decimal(10) ** power for unit, power in _DECIMAL_POWERS.items()},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}


def parse_quantity(written: str | int) -> Decimal:
    """The number that a quantity stands for; ValueError where it is none."""
    match = _QUANTITY.fullmatch(str(written))
    if match is None:
        raise ValueError(f"{written!r} is not a quantity")
    number, unit, exponent = match.groups()
    return Decimal(number) * (Decimal(10) ** int(exponent) if exponent else _FACTORS[unit])
