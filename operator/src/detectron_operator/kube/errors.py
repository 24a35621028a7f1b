"""What the API server can answer instead of the object asked for.

KubeError
├── NotFoundError           404
├── ConflictError           409: exists already, or changed since it was read
├── GoneError               410: the list's continuation is too old
├── TooLargeError           more bytes than were asked for: not read
├── RefusedError            403, 400, 422: asking again changes nothing
└── UnavailableError        the server, or the way to it, is in trouble: ask again later; 401 too, which says
    │                       nothing of the request: a token has just run out, or cannot be looked up
    └── TooManyRequestsError    429: not before `retry_after`
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

HTTP_ERROR = 400
UNTOLD_WAIT = 1.0
"""Seconds to wait where the server does not say for how long."""
LONGEST_WAIT = 300.0
"""Seconds to wait at most, whatever is said: as long as between two tries of what fails again and again."""


class KubeError(Exception):
    """A request that did not succeed.

    Attributes:
        what: the request, such as `create pods default/digits-0-0`.
        code: HTTP status; 0 if no answer came.
        message: the server's own words.
    """

    def __init__(self, what: str, code: int, message: str) -> None:
        super().__init__(f"{what}: {message}" if not code else f"{what}: {code}: {message}")
        self.what = what
        self.code = code
        self.message = message


class NotFoundError(KubeError):
    """No such object, or no such resource."""


class ConflictError(KubeError):
    """The name is taken, or the object changed since it was read, or its uid is another one."""


class GoneError(KubeError):
    """The version or continuation asked for is no longer kept."""


class TooLargeError(KubeError):
    """The answer has more bytes than the operator takes in."""


class RefusedError(KubeError):
    """Not allowed, over quota, or not valid: only a person can change that."""


class UnavailableError(KubeError):
    """No answer, or a 5xx one: whether a write took effect is unknown."""


class TooManyRequestsError(UnavailableError):
    """The server asks to slow down.

    Attributes:
        retry_after: seconds to wait at least.
    """

    def __init__(self, what: str, code: int, message: str, retry_after: float) -> None:
        super().__init__(what, code, message)
        self.retry_after = retry_after


_BY_CODE: Mapping[int, type[KubeError]] = {404: NotFoundError, 409: ConflictError, 410: GoneError}


def from_response(what: str, code: int, headers: Mapping[str, str], body: bytes) -> KubeError:
    """The typed error for an answer whose HTTP status is 400 or more."""
    message = _message(body)
    if code == 429:
        return TooManyRequestsError(what, code, message, _retry_after(headers))
    if code in _BY_CODE:
        return _BY_CODE[code](what, code, message)
    return (
        UnavailableError(what, code, message)
        if code >= 500 or code in (401, 408)
        else RefusedError(what, code, message)
    )


def _message(body: bytes) -> str:
    """The message of a metav1.Status; proxies in between answer in their own way."""
    text = body.decode(errors="replace")
    try:
        status = json.loads(text)
    except ValueError:
        return text[:500]
    return str(status["message"]) if isinstance(status, dict) and "message" in status else text[:500]


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to wait, or a proxy before it: a number, or a date by its own clock."""
    said = headers.get("Retry-After", "")
    if said.isdigit():
        return min(float(said), LONGEST_WAIT)
    try:
        wait = parsedate_to_datetime(said) - parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError):
        return UNTOLD_WAIT
    return min(max(0.0, wait.total_seconds()), LONGEST_WAIT)
