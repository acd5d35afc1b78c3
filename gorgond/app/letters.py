"""The notifications of ours, which accounts need, and the channel by which letters go.

account.confirm, account.reset    letters: e-mails with a link, which its user has asked for. Nobody can do without
                                  them, so no preference keeps them back; and since who reads them may act as their
                                  user, they go to the address alone, and into no inbox
account.login                     a notification as any other: somebody logged in, from where nobody had before
"""

from __future__ import annotations

from collections.abc import Mapping

from gorgond.config import Config

CONFIRM, RESET, LOGIN, DIGEST = "account.confirm", "account.reset", "account.login", "account.digest"
TITLES: Mapping[str, str] = {
    CONFIRM: "Confirm your e-mail address",
    RESET: "Choose a new password",
    LOGIN: "A login from somewhere new",
}
LETTERS: Mapping[str, float] = {CONFIRM: 3 * 86400.0, RESET: 3600.0}
"""The seconds for which the link in each letter holds; afterwards it is not sent any more either."""


def letter_channel(config: Config) -> str:
    """The channel over which letters go: the first that sends e-mails. Empty where there is none, or no links, since
    nobody has said what the website's address is, or there is no key to make them with."""
    found = (name for name, settings in config.channels.items() if settings.kind == "email")
    return next(found, "") if config.web.url and config.auth.key else ""
