"""What the API server itself recorded of one user's writes in one namespace."""

import json
from dataclasses import dataclass
from pathlib import Path

_READS = ("get", "list", "watch")


@dataclass(frozen=True)
class Write:
    """A write that the API server answered, such as `patch detectrontrainingjobs/status`."""

    verb: str
    resource: str
    name: str
    code: int

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


@dataclass(frozen=True)
class AuditLog:
    """The audit log's part that is about one user and one namespace."""

    path: Path
    user: str
    namespace: str

    def writes(self) -> list[Write]:
        """All writes so far, in the order of their answers."""
        found = []
        for line in self.path.read_text().splitlines():
            event = json.loads(line)
            target = event.get("objectRef", {})
            if (
                event["user"]["username"] == self.user
                and target.get("namespace") == self.namespace
                and event["stage"] == "ResponseComplete"
                and event["verb"] not in _READS
            ):
                resource = "/".join(part for part in (target["resource"], target.get("subresource")) if part)
                code = int(event["responseStatus"]["code"])
                found.append(Write(event["verb"], resource, target.get("name", ""), code))
        return found
