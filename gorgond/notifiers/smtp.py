"""Handing e-mails to a mail server. It blocks, and may be used by several threads, each with a connection of its own,
which is kept for the next one.

    550 …                        Undeliverable: this address, or this e-mail, never
    450 …, 421, no connection    NotSent: later; so is whatever is said before the server was told of an e-mail
    530, 534, 535, 538           NotSent: it wants to know us first (RFC 4954), whenever it says so. That is a fault of
                                 the configuration, and of no e-mail
    the connection ends, or nothing comes, after all was sent
                                 NotSent: whether the server has it nobody knows, so it is sent again, with its
                                 Message-ID
    an error afterwards          nothing: the server has it
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
import time
from contextlib import suppress
from email.message import EmailMessage
from urllib.parse import SplitResult, unquote, urlsplit

from gorgond.errors import NotSent, Undeliverable
from gorgond.service.plain import plain

PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}
TIMEOUT = 20.0  # seconds until there is a connection
ANSWER = 120.0  # seconds for each answer: a server may look through an e-mail before it says that it has it
IDLE = 30.0  # seconds after which a connection is not used again: the server may have ended it
MOST = 100  # e-mails over one connection
WORDS_MAX = 200  # characters of an answer that are told
UNKNOWN = (530, 534, 535, 538)  # it does not know us


class Mailer:
    """Hands e-mails to the mail server of this address."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()

    def send(self, mail: EmailMessage, sender: str, recipient: str) -> None:
        """Hand over an e-mail. Raises NotSent and Undeliverable."""
        try:
            self._send(mail, sender, recipient)
        except smtplib.SMTPRecipientsRefused as refused:
            [(code, words)] = refused.recipients.values()
            raise _failure(code, words) from None
        except smtplib.SMTPResponseException as error:
            raise _failure(error.smtp_code, error.smtp_error) from None
        except smtplib.SMTPNotSupportedError as error:
            raise Undeliverable(f"the mail server cannot: {error}") from None
        except (smtplib.SMTPException, OSError) as error:
            raise NotSent(f"mail server {self._url.hostname}: {str(error) or type(error).__name__}") from None

    def _send(self, mail: EmailMessage, sender: str, recipient: str) -> None:
        connection = self._taken()
        try:
            connection.send(mail, sender, recipient)
        except BaseException:
            self._drop(connection)
            raise
        with self._lock:
            self._idle.append(connection)

    def _taken(self) -> _Connection:
        """A connection that is good for one more, and nobody else's until it is given back."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = self._connected()
                with self._lock:
                    self._open.add(connection)
                return connection
            if connection.good():
                return connection
            self._drop(connection)

    def _connected(self) -> _Connection:
        """A new connection. Raises NotSent for whatever the server says before it was told of an e-mail: that it has no
        room for us, does not know our password, or has no TLS, is no fault of the e-mail."""
        try:
            return _Connection(self._url)
        except smtplib.SMTPResponseException as error:
            raise NotSent(f"the mail server lets us not in: {_words(error.smtp_code, error.smtp_error)}") from None
        except smtplib.SMTPNotSupportedError as error:
            raise NotSent(f"the mail server cannot: {error}") from None

    def _drop(self, connection: _Connection) -> None:
        with self._lock:
            self._open.discard(connection)
        connection.close()

    def close(self) -> None:
        """End all connections: a thread that waits for an answer waits no longer."""
        with self._lock:
            for each in self._idle:
                each.close()
            for each in self._open.difference(self._idle):
                each.cut()


class _Connection:
    """A connection to the mail server. Raises what smtplib raises."""

    def __init__(self, url: SplitResult) -> None:
        host, port = url.hostname or "localhost", url.port or PORTS[url.scheme]
        if url.scheme == "smtps":
            self._smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                host, port, timeout=TIMEOUT, context=ssl.create_default_context()
            )
        else:
            self._smtp = smtplib.SMTP(host, port, timeout=TIMEOUT)
        try:
            if url.scheme == "smtp+starttls":
                self._smtp.starttls(context=ssl.create_default_context())
            self._socket = self._smtp.sock
            if self._socket is not None:
                self._socket.settimeout(ANSWER)
            if url.username:
                self._smtp.login(unquote(url.username), unquote(url.password or ""))
        except BaseException:
            self._smtp.close()
            raise
        self._sent = 0
        self._used = time.monotonic()

    def send(self, mail: EmailMessage, sender: str, recipient: str) -> None:
        self._smtp.send_message(mail, sender, [recipient])
        self._sent += 1
        self._used = time.monotonic()

    def good(self) -> bool:
        """Whether it may be used once more."""
        if self._sent < MOST and time.monotonic() - self._used < IDLE:
            with suppress(smtplib.SMTPException, OSError):
                return self._smtp.rset()[0] == 250
        return False

    def close(self) -> None:
        with suppress(OSError):
            self._smtp.close()

    def cut(self) -> None:
        """End it under the hands of another thread."""
        with suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)


def _failure(code: int, words: bytes | str) -> NotSent | Undeliverable:
    if code in UNKNOWN:
        return NotSent(f"the mail server wants another url, with a password or TLS: {_words(code, words)}", code)
    kind = Undeliverable if 500 <= code <= 599 else NotSent
    return kind(f"the mail server says {_words(code, words)}")


def _words(code: int, words: bytes | str) -> str:
    text = words.decode(errors="replace") if isinstance(words, bytes) else words
    return f"{code} {plain(text)[:WORDS_MAX]}"
