"""Kubernetes quantities, such as `500m`, `16Gi` and `1e3`."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,3}))?")
_FACTORS = {
    None: Decimal(1),
    **{
        unit: Decimal(10) ** power
        for unit, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
    },
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}


def parse_quantity(written: str | int) -> Decimal:
    """The number that a quantity stands for; ValueError where it is none."""
    match = _QUANTITY.fullmatch(str(written))
    if match is None:
        raise ValueError(f"{written!r} is not a quantity")
    number, unit, exponent = match.groups()
    try:
        return Decimal(number) * (Decimal(10) ** int(exponent) if exponent else _FACTORS[unit])
    except InvalidOperation as error:
        raise ValueError(f"{written!r} is not a quantity") from error
