"""Auth servers that die at bad moments: nobody is refused, nobody is taken for somebody else, no address is locked."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gorgond.auth.records import Document, Records
from gorgond.auth.users import Users
from gorgond.config import load
from gorgond.redpill import Caller, CallFailed, Producer, now_ms
from gorgond.roles.store import DataStore
from gorgond.service.fabric import connect_fabric
from gorgond.service.systemd import Notifier
from tests.conftest import RedisServer
from tests.programs import started
from tests.waiting import eventually
from tools.speed.ports import free_port

PASSWORD = "a violin in the attic"


# ---- processes that are killed


class Client:
    """One connection to the web server."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self._connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def port(redis_factory: Callable[..., RedisServer], tmp_path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The port of a web server with a store, and what an auth server needs to be theirs."""
    environ = {
        "GORGOND_BROKER_URL": redis_factory(appendonly="yes").url,
        "GORGOND_STORE_URL": f"sqlite:///{tmp_path}/test.db",
        "GORGOND_WEB_PORT": str(free_port()),
        "GORGOND_AUTH_ADDRESS_ATTEMPTS": "100000",
    }
    with ExitStack() as closing:
        for role in ("web", "store"):
            closing.enter_context(started(role, output=tmp_path / role, **environ))
        yield int(environ["GORGOND_WEB_PORT"]), environ


def test_auth_is_killed_again_and_again_and_nobody_notices(port: tuple[int, dict[str, str]], tmp_path: Path) -> None:
    number, environ = port
    numbers, done = itertools.count(), itertools.count()
    wrong: list[Any] = []
    stopping = threading.Event()

    def use() -> None:
        """Register, log in, ask who one is, log out, as long as the test goes on."""
        client = Client(number)
        try:
            while not stopping.is_set():
                email = f"user{next(numbers)}@notes.example"
                account = {"email": email, "password": PASSWORD}
                answers = [client.ask("POST", "/auth/register", account)]
                answers.append(client.ask("POST", "/auth/login", account))
                token = (answers[-1][1] or {}).get("token", "none")
                answers += [client.ask("GET", "/auth/me", token=token) for _ in range(5)]
                answers.append(client.ask("POST", "/auth/logout", token=token))
                answers.append(client.ask("GET", "/auth/me", token=token))
                if [status for status, _ in answers] != [201, 200, *[200] * 5, 204, 401]:
                    wrong.append(answers)
                if {answer["email"] for _, answer in (answers[0], *answers[2:7]) if "email" in answer} != {email}:
                    wrong.append(answers)
                next(done)
        except Exception as error:  # noqa: BLE001 - it is told in the end
            wrong.append(error)
        finally:
            client.close()

    # given users at work
    threads = [threading.Thread(target=use) for _ in range(4)]
    with started("auth", output=tmp_path / "auth", **environ):
        eventually(lambda: _lives(number))
        for thread in threads:
            thread.start()
    # when the auth server is killed, and started again, at moments that nobody chose
    for _ in range(5):
        before = next(done)
        with started("auth", output=tmp_path / "auth", **environ):
            eventually(lambda: next(done) > before + 10 or wrong)  # noqa: B023
    with started("auth", output=tmp_path / "auth", **environ):
        stopping.set()
        for thread in threads:
            thread.join(60)
    # then every answer was as it should be, and about who asked
    assert not wrong, wrong[:3]


def _lives(port: int) -> bool:
    client = Client(port)
    try:
        return client.ask("GET", "/readyz")[0] == 200
    except OSError:
        return False
    finally:
        client.close()


# ---- between the writes of a registration


class Died(Exception):
    """The process that registers somebody dies."""


class Mortal(Records):
    """A store whose user dies before or after its nth write."""

    def __init__(self, caller: Caller, writes: float = float("inf"), answered: bool = True) -> None:
        super().__init__(caller)
        self.left = writes
        self._answered = answered

    async def _write(self, op: str, args: Document) -> str:
        self.left -= 1
        if self.left < 0:
            if self._answered:
                raise Died
            await super()._write(op, args)
            raise Died
        return await super()._write(op, args)


@asynccontextmanager
async def store(directory: Path) -> AsyncIterator[Caller]:
    """A store server with a database of its own, in this event loop, and one who may ask it."""
    url = f"memory://{directory}"
    config = load(None, {}, {"broker.url": url, "store.url": f"sqlite:///{directory}/test.db"})
    fabric = connect_fabric(config)
    service = DataStore(config, fabric, "1")
    running = asyncio.ensure_future(service.run(Notifier()))
    async with (
        Producer(fabric.calls, "test") as producer,
        Caller(fabric.calls, producer, "test_data", "test") as caller,
    ):
        yield caller
    service.stop()
    await running


async def create(records: Records, id: str, email: str, passhash: str) -> str:
    """What becomes of a registration: `made`, `taken`, `died`."""
    try:
        await Users(records).create(id, "", email, passhash)
    except Died:
        return "died"
    except CallFailed as failed:
        return "taken" if failed.code == 409 else str(failed)
    return "made"


async def test_a_registration_that_dies_anywhere_locks_no_address(tmp_path: Path) -> None:
    async with store(tmp_path) as caller:
        whole = Records(caller)
        for number, (writes, answered) in enumerate(itertools.product(range(4), (True, False))):
            # given one that dies before its nth write is done, or before it hears of it
            email, id = f"user{number}@notes.example", str(10**9 + number)
            first = await create(Mortal(caller, writes, answered), id, email, "first")
            # when somebody else wants the address afterwards, and the first's message is handled again
            second = await create(whole, str(2 * 10**9 + number), email, "second")
            again = await create(whole, id, email, "first")
            # then exactly one of them has it, and can log in
            assert first == ("died" if writes < 3 else "made")
            assert sorted([second, again]) == ["made", "taken"]
            user = await Users(whole).by_email(email)
            assert user is not None
            assert user["passhash"] == ("second" if second == "made" else "first")
            # and nothing of the password is left in the document that makes the address somebody's
            (claim,) = await whole.find("emails", {"userid": user["id"]})
            assert "user" not in claim
            assert len(await whole.find("users", {"email": email})) == 1


async def test_who_died_after_the_first_write_has_an_account_all_the_same(tmp_path: Path) -> None:
    async with store(tmp_path) as caller:
        assert await create(Mortal(caller, 1), "1000000001", "ada@notes.example", "hers") == "died"
        # when she logs in, then her account is made
        user = await Users(Records(caller)).by_email("ada@notes.example")
        assert user is not None
        assert (user["id"], user["passhash"]) == ("1000000001", "hers")


async def test_the_address_of_a_deleted_user_is_free_and_somebodys_once(tmp_path: Path) -> None:
    async with store(tmp_path) as caller:
        records = Records(caller)
        for turn in range(5):
            # given a user who was deleted
            assert await create(records, str(10**9 + turn), "ada@notes.example", "old") == "made"
            user = await Users(records).by_email("ada@notes.example")
            assert user is not None
            await records.delete("users", {**user, "ts": now_ms() + 1})
            assert await Users(records).by_email("ada@notes.example") is None
            # when many register with the address at once, then it is one's
            outcomes = await asyncio.gather(
                *(create(records, str(2 * 10**9 + 100 * turn + n), "ada@notes.example", "new") for n in range(20))
            )
            assert sorted(outcomes) == ["made", *["taken"] * 19]
            user = await Users(records).by_email("ada@notes.example")
            assert user is not None
            await records.delete("users", {**user, "ts": now_ms() + 1})
