"""A channel whose targets may fail for days, each for itself: endpoints that users name.

What a target does not take waits in the store: its delivery has what is to be sent, how often that was tried and when
it is tried next. So a target that is dead for days takes nothing from the broker but one message, its tick:

    deliveries   … "state": "waiting", "waits": "USER:TARGET", "next", "tries", "code", "content"
    its target   … "failing": since when, "failed": last, "failures": in a row, "again": not before (ms since 1970),
                 "tick": {"round", "id", "at"}: the message that is in charge, its number and id, and when it comes;
                 without `at` nothing waits
    notify.tick  {"user", "target", "round"}

A delivery is tried again by the notifier's schedule, and is dead when that is at its end. While its target fails, one
delivery at a time is tried, and others, new ones too, wait with it: five minutes at most after each failure. So one
that hangs takes next to nothing from all the others, and one notification that a target cannot digest does not hold up
the rest for hours. A target that has failed for five days is turned off, and its user is told.

A tick is handed on by a message of the next round: that is pushed first, then noted in the target, unless somebody has
changed it meanwhile. A message of an older round than the target's, or of the same but not the one that is noted, does
nothing; one of a newer round is in charge, and notes that. So whoever dies, there is one as long as anything waits.
"""

from __future__ import annotations

import asyncio
import functools
import math
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from gorgond.app.clients import Document, StoreClient
from gorgond.app.notifying import DELIVERIES, QUEUE, SEND, notification_id, send_args
from gorgond.app.webhooks import DISABLED, DISABLED_TITLE, OFF, ON, REPLAY, WELL
from gorgond.errors import Conflict, NotFound, NotSent, TargetGone, Undeliverable
from gorgond.notifiers.delivering import Leaving, Outside, Server, in_state
from gorgond.notifiers.notifier import Notification, Notifier, Recipient
from gorgond.notifiers.pace import Pace
from gorgond.notifiers.places import Places
from gorgond.redpill import DONE, Dead, Message, Outcome, Retry, dumps, loads, now_ms

TICK = "notify.tick"
AT_ONCE = 4  # to one target, by one server
PART = 100  # deliveries of a target that are changed before its tick is handed on
LOOK_MS = 3_600_000  # until a target is looked after again for which something waits, at most
DISABLED_MS = 5 * 24 * 3600 * 1000  # a target that has failed for so long is turned off,
APART_MS = 12 * 3600 * 1000  # if it had failed for so long before too: that we stood still is no failure of its
BUSY_MS = 1000  # until one is tried for which there was no room among those on their way to the same target

Clock = Callable[[], int]


class Retrying(Outside):
    """Such a channel. `clock` says what time it is, ms since 1970."""

    def __init__(
        self, notifier: Notifier, store: StoreClient, server: Server, pace: Pace, site: str, clock: Clock = now_ms
    ) -> None:
        super().__init__(notifier, store, server, pace, site)
        self._clock = clock
        self._places = Places()  # by target
        self._turns = WeakValueDictionary[str, asyncio.Lock]()  # of those who change a target

    async def handle(self, message: Message) -> Outcome:
        work = {TICK: self._tick, REPLAY: self._replay}.get(message.op, super().handle)
        try:
            if message.attempts > 1:
                # Its consumer would have nothing else in hand beside it, and a target may hang.
                again = message.forward()
                await self._ask(lambda: self._server.push(f"{QUEUE}:{self.name}", again))
                return DONE
            return await work(message)
        except Undeliverable as failed:
            return Dead(str(failed))
        except Leaving as leaving:
            return Retry(str(leaving), delay=0.0)

    # ---- one delivery

    def _kept(self, _: Notification) -> float:
        return math.inf  # the schedule says how often

    async def _takes_up(self, delivery: Document, state: str) -> bool:
        if state == "waiting":  # who noted that may have died before there was a tick
            await self._look_after(f"{delivery['userid']}:{delivery['target']}", self._clock())
        return state == "sending"

    async def _deliver_to(self, notification: Notification, recipient: Recipient, delivery: Document) -> None:
        target = recipient.target
        delivery["content"] = dumps(notification._asdict()).decode()
        if target["state"] != ON:
            await self._give_up(delivery, _off(target), 0)
        elif (again := target.get("again") or 0) > self._clock():
            await self._wait(delivery, again, "others to the same endpoint have failed", 0)
        elif self._places.taken(target["id"]) >= AT_ONCE:
            await self._wait(delivery, self._clock() + BUSY_MS, "others are on their way to the same endpoint", 0)
        else:
            await self._try(notification, recipient, delivery)

    async def _try(self, notification: Notification, recipient: Recipient, delivery: Document) -> None:
        """Send it, unless its user does not want it any more, and note what became of it."""
        target = recipient.target
        with self._places.place(target["id"]):
            if await self._may_send(notification) is None:
                await self._ask(lambda: self._note(delivery["id"], {**_SETTLED, **in_state("off")}))
                return
            tried = {**delivery, "tries": delivery["tries"] + 1}
            try:
                await self._send(notification, recipient)
            except TargetGone as gone:
                why = str(gone)
                await self._ask(lambda: self._note_failure(target["id"], why))
                await self._give_up(tried, why, gone.code)
                return
            except Undeliverable as failed:
                await self._give_up(tried, str(failed), failed.code)
                return
            except NotSent as failed:
                await self._ask(lambda: self._note_failure(target["id"]))
                await self._put_off(tried, failed)
                return
        self._count_sent(notification)
        done = {**_SETTLED, **in_state("sent"), "tries": tried["tries"]}
        await self._ask(lambda: self._note(delivery["id"], done))
        if target.get("failing"):
            await self._ask(lambda: self._change(target["id"], lambda now: WELL if now.get("failing") else {}))

    async def _put_off(self, delivery: Document, failed: NotSent) -> None:
        """Note when it is tried next, if at all."""
        tries, schedule = delivery["tries"], self._notifier.schedule
        if tries > len(schedule):
            await self._give_up(delivery, f"it was tried {tries} times: {failed}", failed.code)
            return
        next = self._clock() + int(schedule[tries - 1] * 1000 * random.uniform(0.8, 1.2))
        await self._wait(delivery, next, str(failed), failed.code)

    async def _wait(self, delivery: Document, next: int, reason: str, code: int) -> None:
        self._count_failure("later", NotSent(reason))
        target = f"{delivery['userid']}:{delivery['target']}"
        changes = {
            **in_state("waiting", reason), "waits": target, "next": next, "tries": delivery["tries"],
            "code": code or None, "content": delivery["content"],
        }  # fmt: skip
        await self._ask(lambda: self._note(delivery["id"], changes))
        await self._ask(lambda: self._look_after(target, next))

    async def _give_up(self, delivery: Document, reason: str, code: int) -> None:
        """Note that it is dead. It keeps what was to be sent, for a replay."""
        self._count_failure("dead", Undeliverable(reason))
        changes = {
            **_SETTLED, **in_state("dead", reason), "tries": delivery["tries"], "code": code or None,
            "content": delivery["content"],
        }  # fmt: skip
        await self._ask(lambda: self._note(delivery["id"], changes))

    # ---- a target

    def _turn_of(self, target: str) -> asyncio.Lock:
        """Among ourselves nobody has to be too late."""
        return self._turns.setdefault(target, asyncio.Lock())

    async def _found(self, target: str) -> Document | None:
        found = await self._store.find(self._notifier.targets, {"id": target}, limit=1)
        return found[0] if found else None

    async def _change(self, target: str, changes: Callable[[Document], Mapping[str, Any]]) -> None:
        """Change a target by what it is at that moment; nothing where there is none any more, or `changes` are none."""
        async with self._turn_of(target):
            while (found := await self._found(target)) is not None and (wanted := changes(found)):
                if await self._patch(found, wanted):
                    return

    async def _patch(self, target: Document, changes: Mapping[str, Any]) -> bool:
        """Change a target unless others have meanwhile; whether they have not."""
        try:
            with suppress(NotFound):
                await self._store.patch(self._notifier.targets, target["id"], changes, unchanged=target["ts"])
        except Conflict:
            return False
        return True

    async def _note_failure(self, target: str, gone: str = "") -> None:
        """Note that a target has failed; turn it off if it is `gone`, or has failed for days."""
        async with self._turn_of(target):
            while (found := await self._found(target)) is not None and found["state"] == ON:
                changes = self._after_failure(found, gone)
                if changes.get("state") == OFF:
                    await self._tell_owner(found, changes["reason"])
                if await self._patch(found, changes):
                    return

    def _after_failure(self, found: Document, gone: str) -> Document:
        """The changes of a target that has failed."""
        now, failures = self._clock(), (found.get("failures") or 0) + 1
        since = found.get("failing") or now
        changes: Document = {"failed": now}
        if (found.get("again") or 0) <= now:  # else another one has failed at the same time
            pause = int(self._notifier.schedule[min(failures, 2) - 1] * 1000 * 0.8)
            changes |= {"failures": failures, "failing": since, "again": now + pause}
        if now - since >= DISABLED_MS and (found.get("failed") or now) - since >= APART_MS:
            gone = "it has failed for five days"
        if gone:
            return {**WELL, "state": OFF, "reason": gone}
        return changes

    async def _tell_owner(self, target: Document, why: str) -> None:
        user = target["userid"]
        data = {
            "title": f"{target['url'].split('/')[2]} gets no notifications any more",
            "text": f"{target['url']}: {why}. What was to be sent there is kept: turn it on, and ask for it.",
            "endpoint": target["id"],
            "url": f"/notifications/endpoints/{target['id'].partition(':')[2]}",
        }
        id = notification_id(user, DISABLED, target["id"], str(target["ts"]))
        args = send_args(id, user, DISABLED, DISABLED_TITLE, data, self._clock())
        await self._server.push(QUEUE, Message(SEND, args))

    # ---- its tick

    async def _look_after(self, target: str, at: int) -> None:
        """See to it that a tick of this target comes at this time at the latest."""
        async with self._turn_of(target):
            while (found := await self._found(target)) is not None:
                tick = found.get("tick") or {"round": 0, "at": None}
                if tick["at"] is not None and tick["at"] <= at:
                    return
                if await self._hand_on(found, tick["round"], at):
                    return

    async def _hand_on(self, target: Document, round: int, at: int | None) -> bool:
        """Have the next round's message be in charge, at this time, or nobody; False when others have changed the
        target meanwhile."""
        user, _, own = target["id"].partition(":")
        message = Message(TICK, {"user": user, "target": own, "round": round + 1})
        if at is not None:
            await self._server.push(f"{QUEUE}:{self.name}", message, at)
            round += 1
        return await self._patch(target, {"tick": {"round": round, "at": at, "id": message.id}})

    async def _tick(self, message: Message) -> Outcome:
        target, round = f"{message.args['user']}:{message.args['target']}", message.args["round"]
        # Who pushed it may not have noted it yet, or be dead.
        await self._ask(lambda: self._change(target, lambda now: _in_charge(now, message, self._clock())))
        found = await self._ask(lambda: self._found(target))
        if found is None:
            await self._bury(target, "its endpoint was deleted")
            return DONE
        if not _is_in_charge(found, message):
            return DONE
        at = await self._turn(found)
        while (found := await self._ask(lambda: self._found(target))) is not None:
            if not _is_in_charge(found, message):
                return DONE
            if await self._ask(functools.partial(self._hand_on, found, round, at)):
                break
        if at is None and await self._waiting(target, 1):  # it came while nobody was to look any more
            await self._ask(lambda: self._look_after(target, self._clock()))
        return DONE

    async def _turn(self, target: Document) -> int | None:
        """Do for a target what is due: when it is to be looked after next, if something waits."""
        id, now = target["id"], self._clock()
        if target["state"] != ON:
            await self._bury(id, _off(target))
            return None
        if (again := target.get("again") or 0) > now:
            return min(again, now + LOOK_MS)
        room = (1 if target.get("failures") else AT_ONCE) - self._places.taken(id)
        if room <= 0:
            return now + BUSY_MS
        due = await self._waiting(id, room, {"$lte": now})
        if due:
            recipient = Recipient(target["userid"], "", "", "", self._site, target)
            tries = (self._try(_notification_of(each), recipient, each) for each in due)
            for failed in await asyncio.gather(*tries, return_exceptions=True):
                if failed is not None:
                    raise failed
            return self._clock()
        soonest = await self._waiting(id, 1)
        return min(soonest[0]["next"], now + LOOK_MS) if soonest else None

    async def _waiting(self, target: str, most: int, next: Mapping[str, int] | None = None) -> list[Document]:
        """Deliveries that wait for a target, the next ones first."""
        filter = {"waits": target} | ({"next": next} if next else {})
        return await self._ask(lambda: self._store.find(DELIVERIES, filter, sort="next", limit=most))

    async def _bury(self, target: str, reason: str) -> None:
        """Note of all that wait for a target that they are dead."""
        while waiting := await self._waiting(target, PART):
            await asyncio.gather(*(self._give_up(each, reason, each.get("code") or 0) for each in waiting))
            await self._pause(0.0)

    async def _replay(self, message: Message) -> Outcome:
        """Have all sent that a target was not sent, and that died at the time `since` or later; of these `ids`, if it
        has any."""
        user, own, now = message.args["user"], message.args["target"], self._clock()
        endpoint = await self._ask(lambda: self._found(f"{user}:{own}"))
        if endpoint is None or endpoint["state"] != ON:
            return DONE  # nothing is sent there
        until = now_ms()  # by which the store dates what it changes: what dies again is not sent for ever
        target = f"{user}:{own}"
        dead = {"target": own, "userid": user, "state": "dead", "ts": {"$gte": message.args["since"], "$lte": until}}
        if ids := message.args.get("ids"):
            dead["id"] = {"$in": ids}
        again = {"state": "waiting", "waits": target, "next": now, "tries": 0}
        while found := await self._ask(lambda: self._store.find(DELIVERIES, dead, sort="ts", limit=PART)):
            await asyncio.gather(*(self._ask(functools.partial(self._note, each["id"], again)) for each in found))
            await self._pause(0.0)
        await self._ask(lambda: self._look_after(target, now))
        return DONE


_SETTLED: Mapping[str, Any] = dict.fromkeys(("waits", "next", "code", "content"))
"""The changes of a delivery that waits no more."""


def _in_charge(target: Document, message: Message, now: int) -> Document:
    """The change that has this message in charge, unless one of its round, or of a later one, is."""
    round, noted = message.args["round"], (target.get("tick") or {"round": 0})["round"]
    return {"tick": {"round": round, "at": now, "id": message.id}} if noted < round else {}


def _is_in_charge(target: Document, message: Message) -> bool:
    tick: Document = target["tick"]
    return (tick["round"], tick["id"]) == (message.args["round"], message.id)


def _off(target: Mapping[str, Any]) -> str:
    return f"its endpoint is off: {target.get('reason') or 'nobody said why'}"


def _notification_of(delivery: Document) -> Notification:
    return Notification(**loads(delivery["content"].encode()))
