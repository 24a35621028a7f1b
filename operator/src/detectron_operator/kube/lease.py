"""Leader election: of several operators the one that holds a `coordination.k8s.io` Lease works.

Whoever stands by judges by its own monotonic clock how long the Lease has not changed, never by the times
that it carries: clocks of two machines differ. The holder stops leading well before anybody else may take it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn, cast

from detectron_operator.kube.client import Client
from detectron_operator.kube.errors import KubeError, NotFoundError
from detectron_operator.kube.objects import LEASES, Key, Object

RENEW = 0.2
"""The holder renews the Lease after this part of its duration."""
LEADS = 2 / 3
"""The holder leads for this part of the duration after it last asked to renew, if no answer came since."""
LOOK = 0.1
"""Who stands by, or could not renew, looks again after this part of the duration."""

DEAF = 300.0
"""Seconds without an answer about the Lease after which a new process may do better."""

logger = logging.getLogger(__name__)


class LeaseLostError(Exception):
    """Another operator may be at work now: this one must not write any more."""


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """A state of the Lease, and the monotonic time at which it was first seen."""

    version: int
    holder: str
    duration: float
    transitions: int
    at: float


class Elector:
    """One operator's candidacy for a Lease.

    Args:
        client: for the Lease alone: renewals must not wait for other requests or their rate limit.
        lease: namespace and name.
        identity: tells this process from all others, restarts of itself included.
        duration: seconds for which the Lease is its holder's after a renewal.
        clock: monotonic seconds of the event loop.
        now: the time, with its zone; only people read it.
        sleep: waits a number of seconds.
    """

    def __init__(
        self,
        client: Client,
        lease: Key,
        identity: str,
        duration: float,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._lease = lease
        self._identity = identity
        self._duration = duration
        self._clock = clock
        self._now = now
        self._sleep = sleep
        self._seen: _Seen | None = None
        self._until = -math.inf
        self._looked = clock()

    def leads(self) -> bool:
        """Whether nobody else can hold the Lease now."""
        return self._clock() < self._until

    @property
    def stands_by(self) -> bool:
        """Whether another operator holds the Lease, and this one waits for it."""
        return self._seen is not None and not self.leads()

    def ailments(self) -> list[str]:
        """What shows that this operator could not take over; empty while it could."""
        silence = self._clock() - self._looked
        return [f"nothing was heard of lease {self._lease} for {silence:.0f} s"] if silence > DEAF else []

    async def acquire(self) -> None:
        """Stand by until the Lease is ours, however long the API server is away."""
        while True:
            try:
                async with asyncio.timeout(self._duration):
                    if await self._attempt():
                        logger.info("%s leads: it holds lease %s", self._identity, self._lease)
                        return
            except (KubeError, TimeoutError) as error:
                logger.warning("standing by: %s", error or "the API server does not answer")
            await self._sleep(self._duration * LOOK)

    async def keep(self) -> NoReturn:
        """Renew the Lease for as long as it is ours.

        Raises:
            LeaseLostError: somebody else holds it, or could soon, since it could not be renewed in time.
        """
        while True:
            await self._sleep(self._duration * RENEW)
            await self._renew()

    async def release(self) -> None:
        """Give the Lease up, so that another operator need not wait until it expires."""
        if not self.leads():
            return
        self._until = -math.inf
        given_up = {"spec": {"holderIdentity": None, "renewTime": self._timestamp()}}
        try:
            # A renewal that was cut off may have taken effect: the version that it made is not known here.
            seen = self._observe(await self._client.get(LEASES, self._lease))
            if seen.holder == self._identity:
                await self._client.patch(LEASES, self._lease, seen.version, given_up)
        except KubeError as error:
            logger.warning("lease %s is not released, it will expire: %s", self._lease, error)

    async def _renew(self) -> None:
        why = "the API server did not answer in time"
        while self.leads():
            try:
                async with asyncio.timeout(self._until - self._clock()):
                    if await self._attempt():
                        return
                holder = self._seen.holder if self._seen else "nobody"
                raise LeaseLostError(f"lease {self._lease} is held by {holder}")
            except TimeoutError:
                break
            except KubeError as error:
                why = str(error)
                logger.warning("lease not renewed: %s", error)
            await self._sleep(max(0.0, min(self._duration * LOOK, self._until - self._clock())))
        seconds = self._duration * LEADS
        raise LeaseLostError(f"lease {self._lease} could not be renewed within {seconds:g} s: {why}")

    async def _attempt(self) -> bool:
        """Take or renew the Lease if it is ours or free; returns whether it is ours.

        Raises:
            KubeError: it could not be read or written, or somebody else wrote it meanwhile. A write may have
                taken effect all the same, which the next look shows.
        """
        asked = self._clock()
        try:
            seen = self._observe(await self._client.get(LEASES, self._lease))
            if not self._free(seen):
                return False
            raw = await self._client.patch(LEASES, self._lease, seen.version, {"spec": self._claim(seen)})
        except NotFoundError:
            raw = await self._client.create(LEASES, self._lease.namespace, self._new())
        self._observe(raw)
        self._until = asked + self._duration * LEADS
        return True

    def _observe(self, raw: Object) -> _Seen:
        """Note what the API server answered; another version than the last one begins a new term."""
        self._looked = self._clock()
        version = int(cast("Mapping[str, str]", raw["metadata"])["resourceVersion"])
        if self._seen is None or self._seen.version != version:
            spec = cast("Mapping[str, object]", raw.get("spec") or {})
            self._seen = _Seen(
                version=version,
                holder=str(spec.get("holderIdentity") or ""),
                duration=float(cast("int", spec.get("leaseDurationSeconds") or 0)),
                transitions=cast("int", spec.get("leaseTransitions") or 0),
                at=self._looked,
            )
        return self._seen

    def _free(self, seen: _Seen) -> bool:
        return seen.holder in ("", self._identity) or self._clock() >= seen.at + seen.duration

    def _claim(self, seen: _Seen | None) -> dict[str, object]:
        """The Lease's fields that make it, or keep it, ours."""
        claim: dict[str, object] = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": math.ceil(self._duration),
            "renewTime": self._timestamp(),
        }
        if seen is None or seen.holder != self._identity:
            claim |= {
                "acquireTime": self._timestamp(),
                "leaseTransitions": 0 if seen is None else seen.transitions + 1,
            }
        return claim

    def _new(self) -> Object:
        metadata = {"name": self._lease.name, "namespace": self._lease.namespace}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": self._claim(None),
        }

    def _timestamp(self) -> str:
        """A metav1.MicroTime."""
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
