"""What the API server itself recorded of one user's requests."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_READS = ("get", "list", "watch")


@dataclass(frozen=True)
class Answer:
    """The API server's answer to a request, such as `patch detectrontrainingjobs/status`.

    Attributes:
        resource: plural and subresource; empty where the request was for none, such as discovery.
        allowed_by: the authorizer's words.
    """

    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    code: int
    allowed_by: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"

    @property
    def writes(self) -> bool:
        return self.verb not in _READS


def answers(log: Path, user: str) -> Iterator[Answer]:
    """All answers to a user so far, in their order; of a watch, that it began and that it ended."""
    for line in log.read_text().splitlines():
        event = json.loads(line)
        # Who came with a token that is none has no name.
        if event["user"].get("username") != user:
            continue
        target = event.get("objectRef", {})
        parts = (target.get("resource"), target.get("subresource"))
        yield Answer(
            verb=event["verb"],
            group=target.get("apiGroup", ""),
            resource="/".join(part for part in parts if part),
            namespace=target.get("namespace", ""),
            name=target.get("name", ""),
            code=int(event["responseStatus"]["code"]),
            allowed_by=event["annotations"].get("authorization.k8s.io/reason", ""),
        )


@dataclass(frozen=True)
class AuditLog:
    """The audit log's part that is about one user and one namespace."""

    path: Path
    user: str
    namespace: str

    def writes(self) -> list[Answer]:
        """All writes so far, in the order of their answers."""
        return [
            answer
            for answer in answers(self.path, self.user)
            if answer.namespace == self.namespace and answer.writes
        ]
