"""How often a password may be tried, counted in the broker for all auth servers together.

Every attempt is counted before the password is checked, so that a hundred at once are a hundred; one that was right is
taken back. Three limits:

    pair      account and address: `attempts` at once, then one a minute
    address   all accounts: `address_attempts` at once, then one every six seconds; registering counts here too, and
              letters that are asked for
    account   all addresses: STRAIN at once, then one a minute; beyond it the account is under attack

An attack does not lock the owner out: the last limit never refuses anybody by itself. It leaves *strange* addresses one
attempt an hour instead of `attempts`. So the right password gets in from a fresh address, and from an address at which
the account has a session it may be mistyped as often as ever, while an attacker with a thousand addresses has a
thousand guesses an hour. The attacker can use up only the limits of the attacker's own address: a user who shares that
address, behind the same NAT, waits as long as the attacker does.

Accounts that do not exist are counted the same. The names under which it is counted are hashes. Each refusal is a line
in the log, with pseudonyms.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import math
import os
from collections.abc import Awaitable, Callable, Sequence

from gorgond.redpill import CallFailed, Limit, Link
from gorgond.service.pseudonyms import Pseudonyms
from gorgond.service.share import customer

FAMILY = "auth"
STRAIN = 50  # wrong passwords for one account from everywhere, after which it counts as attacked
LETTERS, LETTER_EACH = 3, 1200.0
PAIR_EACH, ADDRESS_EACH, ACCOUNT_EACH, STRANGER_EACH = 60.0, 6.0, 60.0, 3600.0  # seconds

log = logging.getLogger("gorgond.auth")


class Limits:
    """Counts attempts over one link, one question at a time."""

    def __init__(self, link: Link, attempts: int, address_attempts: int, pseudonyms: Pseudonyms) -> None:
        self._link = link
        self._pseudonyms = pseudonyms
        self._attempts = attempts
        self._address_attempts = address_attempts
        self._turn = asyncio.Lock()
        self._name = os.urandom(6).hex()
        self._numbers = itertools.count(1)

    async def attempt(self, email: str, address: str, familiar: Callable[[], Awaitable[bool]]) -> Sequence[Limit]:
        """Count that a password is tried: the limits to take back if it is right. `familiar` tells whether the account
        has a session at this address. Raises CallFailed 429, with the seconds to wait."""
        source = customer(address)
        account = [Limit(_name("account", email), STRAIN, ACCOUNT_EACH)]
        pair = Limit(_name("pair", email, source), self._attempts, PAIR_EACH)
        if await self._admit(account):
            account = []
            if not await familiar():
                pair = Limit(_name("stranger", email, source), 1, STRANGER_EACH)
        here = [pair, self._address(source)]
        wait = await self._admit(here)
        if wait:
            await self.take_back(account)
            raise _too_many(wait, self.about(email, address))
        return [*account, *here]

    async def take_back(self, counted: Sequence[Limit]) -> None:
        """The password was right: it was no attempt."""
        if counted:
            await self._admit(counted, back=True)

    async def registration(self, address: str) -> None:
        """Count that somebody registers. Raises CallFailed 429."""
        wait = await self._admit([self._address(customer(address))])
        if wait:
            raise _too_many(wait, self._pseudonyms.of("address", address))

    async def letter(self, account: str, address: str) -> None:
        """Count that a letter to an account is asked for: LETTERS at once, then one in LETTER_EACH seconds. Raises
        CallFailed 429."""
        wait = await self._admit(
            [Limit(_name("letter", account), LETTERS, LETTER_EACH), self._address(customer(address))]
        )
        if wait:
            raise _too_many(wait, self.about(account, address))

    def about(self, account: str, address: str) -> str:
        """The account and the address that try, for the log."""
        return f"{self._pseudonyms.of('account', account)}, {self._pseudonyms.of('address', address)}"

    def _address(self, source: str) -> Limit:
        return Limit(_name("address", source), self._address_attempts, ADDRESS_EACH)

    async def _admit(self, limits: Sequence[Limit], back: bool = False) -> float:
        async with self._turn:
            number = next(self._numbers)
            return await self._link.persist(lambda: self._link.admit(FAMILY, self._name, number, limits, back))


def _too_many(wait: float, who: str) -> CallFailed:
    seconds = math.ceil(wait)
    log.info("too many attempts, %d s to wait: %s", seconds, who)
    return CallFailed(429, f"too many attempts: try again in {seconds} s", headers={"Retry-After": str(seconds)})


def _name(kind: str, *of: str) -> str:
    return f"{kind}:{hashlib.sha256(chr(0).join(of).encode()).hexdigest()[:32]}"
