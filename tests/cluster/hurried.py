"""Alerts in a hurry: durations are a fraction of what they were; all else of the rules is as it was."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = r"(?P<number>\d+)(?P<unit>[smhd])"
_WINDOW = re.compile(rf"(?:(?<=\[)|(?<=\boffset )){_DURATION}\b")
_AGE = re.compile(r"(?<=\btime\(\) - )(?P<since>\w+ [<>]=? )(?P<number>\d+)\b")
"""What a time since a timestamp is compared with, in seconds."""


def hurried(groups: Sequence[Mapping[str, Any]], times: int) -> list[dict[str, Any]]:
    """Groups of rules with a fraction of each duration: `for`, windows, offsets, and ages of timestamps.

    Raises:
        ValueError: a duration would be no whole number of seconds.
    """
    return [{**group, "rules": [_rule(rule, times) for rule in group["rules"]]} for group in groups]


def _rule(rule: Mapping[str, Any], times: int) -> dict[str, Any]:
    def duration(found: re.Match[str]) -> str:
        return f"{_part(int(found['number']) * _SECONDS[found['unit']], times)}s"

    def age(found: re.Match[str]) -> str:
        return f"{found['since']}{_part(int(found['number']), times)}"

    shorter = {"expr": _AGE.sub(age, _WINDOW.sub(duration, rule["expr"]))}
    if "for" in rule:
        shorter["for"] = re.sub(_DURATION, duration, rule["for"])
    return {**rule, **shorter}


def _part(seconds: int, times: int) -> int:
    if seconds % times:
        raise ValueError(f"a duration of {seconds} s has no whole number of seconds in 1/{times} of it")
    return seconds // times
