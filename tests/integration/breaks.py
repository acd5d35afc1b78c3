"""Promises that are broken on purpose in a copy of gorgond, so that it is seen that drills find it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Break:
    """A promise broken on purpose: texts of gorgond's files replaced by others, and which check then fails."""

    drill: str
    check: str
    texts: Mapping[str, tuple[tuple[str, str], ...]]


STORE, CLAIM = "gorgond/roles/store.py", "gorgond/redpill/scripts/claim.lua"
HAND_OUT = "gorgond/redpill/scripts/hand_out.lua"
NOTIFY = "gorgond/roles/notify.py"
WRITES = "[write for job in jobs for write in job.writes]"
WRITTEN = f"done = iter(self._store.change({WRITES}))\n"
FOUND = "zip(finds, self._store.find([query for _, query in finds]), strict=True)"
# The answer "void" to who settles what is not on its desk, and the two things that it is told by.
NO_LENGTH = ("if first and length ~= LENGTH then return {'void'} end", "")
NO_TOKEN = ("if last == '-' then return {'void'} end", "if last == '-' then last = CLAIM - 1 end")

BREAKS = {
    # A push that met an outage is taken for accepted.
    "a dropped re-push": Break("redis-kill", "lost", {"gorgond/redpill/producer.py": ((
        """            answers = await self._link.persist(push, self._hooks.beat)
        except BrokerError as refused:
            answers = [refused] * len(batches)
""",
        """            answers = await push()
        except BrokerError as refused:
            answers = [None] * len(batches)
""",
    ),)}),
    # A consumer has the messages that it takes in its memory alone, and handles the one that it waited for. It takes
    # its time, so that it has some when it dies.
    "pop instead of move": Break("store-kill", "lost", {
        CLAIM: (NO_LENGTH,),
        "gorgond/redpill/session.py": (("return None if self._crowded or raw", "return None if raw"),),
        HAND_OUT: (
            ("redis.call('RPUSH', DESK, unpack(found))", ""),
            ("redis.call('LMOVE', QUEUE, DESK, 'LEFT', 'RIGHT')", "redis.call('LPOP', QUEUE)"),
        ),
        STORE: ((WRITTEN, f"__import__('time').sleep(0.2); {WRITTEN}"),),
    }),
    # A job is settled before it is in the database.
    "settled before the write": Break("store-kill", "lost", {STORE: ((
        WRITTEN,
        f"writes = {WRITES}; done = (__import__('gorgond.stores.contract', fromlist=['Written']).Written('stored', "
        "each.ts) for each in writes); __import__('threading').Timer(0.5, self._store.change, [writes]).start()\n",
    ),)}),
    # A notification is settled before the channels have it.
    "a notification that nobody has": Break("notify-kill", "lost", {NOTIFY: (
        (
            "    async def _pass_on(self, message: Message) -> Outcome:\n",
            "    async def _settle_first(self, message: Message) -> Outcome:\n"
            "        later = asyncio.get_running_loop().call_later\n"
            "        later(0.5, lambda: asyncio.ensure_future(self._pass_on(message)))\n"
            "        return DONE\n\n    async def _pass_on(self, message: Message) -> Outcome:\n",
        ),
        ("concurrent_consumer(QUEUE, self._pass_on,", "concurrent_consumer(QUEUE, self._settle_first,"),
    )}),
    # Each e-mail is handed over twice.
    "e-mails twice": Break("smtp-down", "sent again", {"gorgond/notifiers/smtp.py": ((
        "            self._send(mail, sender, recipient)\n", "            self._send(mail, sender, recipient)\n" * 2,
    ),)}),
    # Each notification is posted twice.
    "notifications posted twice": Break("endpoint-hang", "sent again", {"gorgond/notifiers/http.py": ((
        "            answer = await self._client.ask(self._method, url, headers, body)\n",
        "            answer = await self._client.ask(self._method, url, headers, body)\n" * 2,
    ),)}),
    # Others were given what a store had in hand when it hung, after 2 s here; it settles it all the same.
    "a late settle": Break("store-hang", "late settle", {
        CLAIM: (NO_LENGTH, NO_TOKEN),
        "gorgond/redpill/broker.py": (("SILENCE = 20.0", "SILENCE = 2.0"), ("BLOCK = 1.0", "BLOCK = 0.25")),
    }),
    # A job is written, and given up too.
    "in two places": Break("poison", "misplaced", {STORE: ((
        "return [job.outcome() for job in jobs]",
        "return [__import__('gorgond.redpill', fromlist=['Dead']).Dead('lost heart')] * len(batch)",
    ),)}),
    # For each note there is another one that nobody wrote.
    "an invented note": Break("poison", "unexpected", {STORE: ((
        WRITTEN,
        f"{WRITTEN}        import dataclasses\n        self._store.change([dataclasses.replace("
        f"each, id='x' + each.id, document={{'userid': each.document.get('userid', 0)}}) for each in {WRITES}])\n",
    ),)}),
    # Replies go to who has not asked for them. Reading takes its time, so that there are several to be confused.
    "replies confused": Break("poison", "unanswered", {STORE: ((
        FOUND, "zip(finds, __import__('time').sleep(0.03) or self._store.find([query for _, query in finds])[::-1])",
    ),)}),
}  # fmt: skip
