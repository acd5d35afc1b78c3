"""The processes of `gorgond up`: started, listed, stopped one by one, and ended in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Any

from gorgond.commands.child import Child
from gorgond.commands.vitals import Vitals
from gorgond.errors import GorgonError
from gorgond.redpill import Message
from gorgond.roles import ROLES
from gorgond.roles.row import Role

PATIENCE = 20.0  # seconds that ending may take a child: longer than a service takes to drain


class Fleet:
    """The brokers, and the services in groups, in the order in which they end: who asks before who answers, so that all
    that was asked is answered. `make` makes one more. `failed` is called with what a child cannot run for."""

    def __init__(
        self,
        brokers: list[Child],
        groups: list[list[Child]],
        make: Callable[[Role, str], Child],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.brokers = brokers
        self._groups, self._make, self._failed = groups, make, failed
        self.services = {child.name: child for group in reversed(groups) for child in group}
        self._groups_of = {role: group for group in groups for child in group for role in [_split(child)[0]] if role}
        self._vitals = {name: Vitals() for name in self.services}
        self._tasks: dict[Child, asyncio.Task[None]] = {}

    # ---- all of them

    def start(self, children: Iterable[Child]) -> None:
        """Keep these running from now on."""
        for child in children:
            self._tasks[child] = task = asyncio.get_running_loop().create_task(child.run())
            task.add_done_callback(self._look)

    def _look(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    async def end_services(self) -> None:
        """End them group by group."""
        for group in self._groups:
            await self.end(group)

    async def end(self, group: list[Child]) -> None:
        """Ask these to end, wait until they have; kill those that take too long."""
        tasks = [self._tasks[child] for child in group if child in self._tasks]
        if not tasks:
            return
        for child in group:
            child.stop()
        _, slow = await asyncio.wait(tasks, timeout=PATIENCE)
        if slow:
            for child in group:
                child.kill()
            await asyncio.wait(slow)

    def kill(self) -> None:
        """End all at once."""
        for child in self._tasks:
            child.kill()

    def reload(self, roles: Collection[str]) -> None:
        """Have those of these roles read their applications anew."""
        for child in self.services.values():
            if _split(child)[0] in roles:
                child.reload()

    # ---- one of them, as others ask for over the control socket

    @property
    def children(self) -> dict[str, Child]:
        """All by their names."""
        return {child.name: child for child in self.brokers} | self.services

    def _child(self, name: str) -> Child:
        if name not in self.children:
            raise GorgonError(f"there is no {name} here; there are {' '.join(self.children)}")
        return self.children[name]

    async def stop_one(self, name: str) -> dict[str, Any]:
        """End it, so that it stays ended. Raises GorgonError, as the others do, when there is none of that name."""
        await self.end([self._child(name)])
        return {}

    async def start_one(self, name: str) -> dict[str, Any]:
        """Start what was stopped; what waits to be started again is started at once."""
        child = self._child(name)
        child.start()
        if self._tasks[child].done():
            self.start([child])
        return {}

    async def restart_one(self, name: str) -> dict[str, Any]:
        """End it and start it; back when it is ready. Raises GorgonError when it cannot be."""
        await self.stop_one(name)
        await self.start_one(name)
        await self._child(name).wait_until_ready()
        return {}

    async def add(self, role: str) -> dict[str, Any]:
        """Start one more of a role, of the next number; back when it is ready. One that cannot be is forgotten."""
        if role not in self._groups_of:
            raise GorgonError(f"no {role} was started here with a number, beside which there could be another")
        group = self._groups_of[role]
        last = max((number for its, number in map(_split, group) if its == role), default=0)
        child = self._make(ROLES[role], str(last + 1))
        group.append(child)
        self.services[child.name], self._vitals[child.name] = child, Vitals()
        self.start([child])
        try:
            await child.wait_until_ready()
        except GorgonError:
            await self.remove(child.name)
            raise
        return {"name": child.name}

    async def remove(self, name: str) -> dict[str, Any]:
        """End it and forget it."""
        child = self._child(name)
        if child in self.brokers:
            raise GorgonError(f"{name} cannot be removed: all others need it")
        await self.end([child])
        for group in self._groups:
            if child in group:
                group.remove(child)
        del self.services[name], self._vitals[name], self._tasks[child]
        return {}

    # ---- how they are

    def hear(self, second: Message) -> None:
        """Take in what an instance tells of itself each second."""
        name = f"{second.args['role']}@{second.args['instance']}"
        child = self.services.get(name)
        if child is not None and child.pid == second.args["pid"]:
            self._vitals[name].hear(second.args)

    def all_have_run(self) -> bool:
        """Whether each service was heard, or is done."""
        return all(child.state == "done" or self._vitals[child.name].pid for child in self.services.values())

    def state(self, child: Child) -> str:
        """In a word how it is."""
        if child in self.brokers:
            return child.state
        return self._vitals[child.name].state(child)

    def rate(self, child: Child) -> float:
        """Its work in a second."""
        vitals = self._vitals.get(child.name)
        return vitals.rate if vitals is not None and child.pid == vitals.pid else 0.0

    def row(self, child: Child) -> dict[str, Any]:
        """All that is known of it, for programs."""
        role, _, instance = child.name.partition("@")
        return {
            "name": child.name,
            "role": role,
            "instance": instance,
            "pid": child.pid,
            "state": self.state(child),
            "restarts": max(child.starts - 1, 0),
        }


def _split(child: Child) -> tuple[str, int]:
    """The role and the number of an instance; no role for one that has a name instead."""
    role, _, instance = child.name.partition("@")
    return (role, int(instance)) if instance.isdecimal() else ("", 0)
