"""What a mail server says before it was told of an e-mail is no fault of the e-mail: it is sent later."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.message import EmailMessage

import pytest

from gorgond.errors import NotSent, Undeliverable
from gorgond.notifiers.smtp import Mailer

HELLO = "220 mail.example"


@contextmanager
def saying(*lines: str) -> Iterator[int]:
    """A mail server that says these, one for each line that it is told, and then ends the connection: its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_serve, args=(listening, lines))
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def _serve(listening: socket.socket, lines: Sequence[str]) -> None:
    connection, _ = listening.accept()
    with connection, connection.makefile("rb") as told:
        for line in lines:
            connection.sendall(f"{line}\r\n".encode())
            told.readline()


def send(url: str) -> None:
    mail = EmailMessage()
    mail.set_content("Hello")
    mailer = Mailer(url)
    try:
        mailer.send(mail, "notes@notes.example", "ada@notes.example")
    finally:
        mailer.close()


@pytest.mark.parametrize(
    ("scheme", "lines", "why"),
    [
        ("smtp", ["554 5.7.1 nobody from there"], "the mail server lets us not in: 554 5.7.1 nobody from there"),
        ("smtp+starttls", [HELLO, "250 mail.example"], "the mail server cannot: STARTTLS"),
        (
            "smtp+starttls",
            [HELLO, "250-mail.example\r\n250 STARTTLS", "502 5.5.1 not today"],
            "the mail server lets us not in: 502 5.5.1 not today",
        ),
    ],
)
def test_what_is_said_before_it_knows_of_an_email_puts_that_off(scheme: str, lines: list[str], why: str) -> None:
    with saying(*lines) as port, pytest.raises(NotSent, match=why):
        send(f"{scheme}://127.0.0.1:{port}")


def test_what_is_refused_itself_never_comes_again() -> None:
    lines = [HELLO, "250 mail.example", "250 good", "550 5.1.1 no such mailbox", "250 good"]
    with saying(*lines) as port, pytest.raises(Undeliverable, match="says 550"):
        send(f"smtp://127.0.0.1:{port}")


@pytest.mark.parametrize(
    "asks", [["530 5.7.0 log in"], ["250 good", "530 5.7.0 log in"], ["250 good", "250 good", "535 5.7.8 log in"]]
)
def test_a_server_that_wants_a_login_at_whatever_it_is_told_puts_an_email_off(asks: list[str]) -> None:
    with saying(HELLO, "250 mail.example", *asks) as port, pytest.raises(NotSent, match=r"wants another url.*log in"):
        send(f"smtp://127.0.0.1:{port}")
