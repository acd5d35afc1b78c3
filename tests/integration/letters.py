"""A site that sends e-mails to a mail server of the test's, and the links in them."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gorgond.auth.records import Records
from gorgond.redpill import Caller, Producer
from gorgond.service.fabric import connect_fabric
from tests.integration.mail import MailServer
from tests.integration.website import Answer, Website
from tests.waiting import eventually

SITE = "https://notes.example"
PASSWORD, OTHER = "a violin in the attic", "a cello in the cellar"
_numbers = itertools.count()


@contextmanager
def sending(broker: str, directory: Path, mail: MailServer, more: str = "", **settings: Any) -> Iterator[Website]:
    """Such a site; `more` is of its configuration."""
    conf = directory / "gorgond.conf"
    conf.write_text(f"[notify.email]\nurl = {mail.url}\nsender = notes@notes.example\nrate = 60000\n{more}")
    url = {"web__url": SITE} | settings
    with Website(
        broker, directory, conf=str(conf), auth__address_attempts="100000", web__deadline="60s", **url
    ) as site:
        yield site


def new_email() -> str:
    """An address that no other test knows."""
    return f"letters{next(_numbers)}@notes.example"


def mails_to(mail: MailServer, email: str, count: int = 1, subject: str = "") -> list[Any]:
    """The e-mails to an address, when there are so many of them."""

    def found() -> list[Any]:
        all_of_them = [each for each in mail.mails if each["To"].addresses[0].addr_spec == email]
        return [each for each in all_of_them if subject in each["Subject"]]

    eventually(lambda: len(found()) >= count)
    assert len(found()) == count, [each["Subject"] for each in found()]
    return found()


def token_in(letter: Any) -> str:
    """The token of the link in a letter."""
    links: list[str] = re.findall(rf"{SITE}/\w+\?token=\S+", letter.get_body(("plain",)).get_content())
    assert len(links) == 1
    [token] = parse_qs(urlsplit(links[0]).query)["token"]
    return token


def register(site: Website, email: str, password: str = PASSWORD) -> Answer:
    answer = site.ask("POST", "/auth/register", {"email": email, "password": password, "name": "Ann"})
    assert answer.status == 201, answer.body
    return answer


def login(site: Website, email: str, password: str = PASSWORD, **headers: str) -> Answer:
    return site.ask("POST", "/auth/login", {"email": email, "password": password}, **headers)


def bearer(answer: Answer) -> dict[str, str]:
    """The headers of a session that has begun with this answer."""
    assert answer.status == 200, answer.body
    return {"Authorization": f"Bearer {answer.json['token']}"}


def confirmed(site: Website, mail: MailServer) -> str:
    """The address of a new user who has confirmed it."""
    email = new_email()
    register(site, email)
    token = token_in(mails_to(mail, email)[0])
    assert site.ask("PUT", "/auth/confirm", {"token": token}, **bearer(login(site, email))).status == 200
    return email


def at_store(site: Website, work: Callable[[Records], Awaitable[Any]]) -> Any:
    """The outcome of work on the accounts, past the auth server."""

    async def done() -> Any:
        broker = connect_fabric(site.config).calls
        async with Producer(broker, "test") as producer, Caller(broker, producer, "test_data", "test") as caller:
            return await work(Records(caller))

    return asyncio.run(done())


def change_user(site: Website, email: str, **fields: Any) -> None:
    """Set fields of the user with this address; None takes one away."""

    async def changed(records: Records) -> None:
        [user] = await records.find("users", {"email": email})
        await records.patch("users", user, fields)

    at_store(site, changed)
