"""The notifications of ours, which accounts need, and the channel by which letters go.

account.confirm, account.reset    letters: e-mails with a link, which its user has asked for. Nobody can do without
account.address                   them, so no preference keeps them back; and since who reads them may act as their
                                  user, they go to an address alone, and into no inbox: to that of the account, or to
                                  the one that it is to have
account.moved                     a letter to the address that an account had: it has another one
account.login                     a notification as any other: somebody logged in, from where nobody had before
"""

from __future__ import annotations

from collections.abc import Mapping

from gorgond.config import Config

CONFIRM, RESET, LOGIN, DIGEST = "account.confirm", "account.reset", "account.login", "account.digest"
ADDRESS, MOVED = "account.address", "account.moved"
TITLES: Mapping[str, str] = {
    CONFIRM: "Confirm your e-mail address",
    RESET: "Choose a new password",
    ADDRESS: "Confirm your new e-mail address",
    MOVED: "Your account has another e-mail address",
    LOGIN: "A login from somewhere new",
}
LETTERS: Mapping[str, float] = {CONFIRM: 3 * 86400.0, RESET: 3600.0, ADDRESS: 86400.0, MOVED: 5 * 86400.0}
"""The seconds for which the link in each letter holds, if it has one; afterwards it is not sent any more either."""
TO = "to"
"""The argument of a message on the channel's queue that has the address for a letter, if it is not the account's."""


def letter_channel(config: Config) -> str:
    """The channel over which letters go: the first that sends e-mails. Empty where there is none, or no links, since
    nobody has said what the website's address is, or there is no key to make them with."""
    found = (name for name, settings in config.channels.items() if settings.kind == "email")
    return next(found, "") if config.web.url and config.auth.key else ""
