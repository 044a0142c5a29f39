"""Runs the controllers: one set of shared informers to read with, one client a controller to write with.

Lifecycle: `run` makes every controller, starts the informers and works until cancelled; cancelled, it stops
controllers, recorders and informers and leaves nothing running. An error that escapes a controller is a broken
invariant and ends `run` with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from pybernetes.api.user import AUTHENTICATED, User, controller_user
from pybernetes.client.events import EventRecorder
from pybernetes.client.informer import Informers
from pybernetes.client.interface import Client
from pybernetes.controllers.catalog import Catalog
from pybernetes.controllers.controller import Context, Controller, ControllerConfig
from pybernetes.controllers.registry import CONTROLLERS, ControllerSpec
from pybernetes.lib.clock import Clock, SystemClock

READER = User("system:kube-controller-manager", groups=(AUTHENTICATED,))

log = structlog.get_logger(__name__)


class ControllerManager:
    """All controllers of a cluster in one task.

    `client_for` gives a client that acts as a user; `registry` is which controllers run (all by default).
    """

    def __init__(
        self,
        client_for: Callable[[User], Client],
        *,
        clock: Clock | None = None,
        config: ControllerConfig | None = None,
        registry: tuple[ControllerSpec, ...] = CONTROLLERS,
    ) -> None:
        self._client_for = client_for
        self._clock = clock or SystemClock()
        self._config = config or ControllerConfig()
        self._registry = tuple(s for s in registry if s.name not in self._config.disabled)
        self._running: dict[str, Controller] = {}
        self._synced = asyncio.Event()

    async def synced(self) -> None:
        """Waits until every informer holds a first list, that is, until controllers act."""
        await self._synced.wait()

    def statistics(self) -> Mapping[str, Mapping[str, int]]:
        """By controller: what its queues hold."""
        return {name: controller.statistics() for name, controller in self._running.items()}

    async def run(self) -> None:
        """Works until cancelled."""
        informers = Informers(self._client_for(READER))
        catalog = Catalog(informers)
        recorders: list[EventRecorder] = []
        for spec in self._registry:
            client = self._client_for(controller_user(spec.account) if spec.account else READER)
            recorder = EventRecorder(client, spec.component, clock=self._clock)
            recorders.append(recorder)
            context = Context(client, informers, recorder, catalog, self._clock, self._config)
            self._running[spec.name] = spec.make(context)
        informers.start()
        try:
            async with asyncio.TaskGroup() as group:
                for recorder in recorders:
                    group.create_task(recorder.run())
                for name, controller in self._running.items():
                    group.create_task(controller.run(), name=f"controller/{name}")
                await informers.synced()
                self._synced.set()
                log.info("controllers started", count=len(self._running))
        finally:
            await informers.stop()
            self._running.clear()
            self._synced.clear()


__all__ = ["ControllerConfig", "ControllerManager"]
