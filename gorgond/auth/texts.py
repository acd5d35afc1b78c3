"""One form for each text by which users are known: addresses, names, passwords.

Texts that look the same are the same, and characters that cannot be seen are refused:

    address   its local part in NFKC, its domain as IDNA 2008 has it (UTS 46), in Unicode and without a dot at its end,
              both in lower case; nothing in it that is not seen (`service.plain`) or blank
    name      NFKC with single blanks (as RFC 8266 has nicknames); nothing in it that is not seen; something shows,
              or it is empty
    password  NFC (as RFC 8265 has it); anything may be in it

Accounts of before there were these rules keep the form they have: `forms` tells under which one may be found.
"""

from __future__ import annotations

import re
import unicodedata

import idna

from gorgond.bounds import EMAIL_MAX, NAME_MAX
from gorgond.redpill import CallFailed
from gorgond.service.plain import unseen

# Letters, marks and signs that are blank or not shown at all, assigned or not (Unicode's Default_Ignorable_Code_Point):
# fillers, joiners, variation selectors, blanks of Braille, of hieroglyphs and of music.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U00013441\U00013442\U00016fe4\U0001d159\U000e0000-\U000e0fff]"
)

_UNSEEN = "must not hold control characters, or such as are not seen or turn the direction of the text"
_EMAIL = re.compile(r"([^@\s\x00-\x1f\x7f]{1,64})@([^@\s\x00-\x1f\x7f]{1,253})")


def address(text: str) -> str:
    """The address as it is stored and compared. Raises CallFailed 400 for what is none."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.strip()).lower())
    if any(map(unseen, folded)) or _BLANK.search(folded):
        raise _no_address(_UNSEEN)
    local, domain = _parts(folded[:-1] if folded.endswith((".", "。")) else folded)
    try:
        whole = f"{local}@{_domain(domain)}"
    except UnicodeError as error:
        raise _no_address(f"its domain is none: {error}") from None
    if len(whole) > EMAIL_MAX:
        raise _no_address()
    return whole


def address_of(text: str) -> str:
    """The address that another site tells; nothing for what is none."""
    try:
        return address(text)
    except CallFailed:
        return ""


def forms(text: str) -> tuple[str, ...]:
    """All forms in which there may be an account with this address, the one first that was meant when it was typed so.
    Raises CallFailed 400 for what never was an address."""
    typed = unicodedata.normalize("NFC", text.strip()).lower()
    _parts(typed)
    try:
        now = address(text)
    except CallFailed:
        return (typed,)
    local, domain = _parts(now)
    return tuple(dict.fromkeys((typed, now, f"{local}@{_spelt(domain)}")))


def account(text: str) -> str:
    """The one form that stands for an account in whatever form its address is typed. Raises CallFailed 400 as `forms`
    does."""
    try:
        return address(text)
    except CallFailed:
        return forms(text)[0]


def name(text: str) -> str:
    """A user's name in its one form. Raises CallFailed 400."""
    if any(map(unseen, text)):
        raise CallFailed(400, f"name: {_UNSEEN}", "name")
    form = " ".join(unicodedata.normalize("NFKC", text).split())[:NAME_MAX]
    if form and not _shows(form):
        raise CallFailed(400, "name: must hold something that is seen, or be empty", "name")
    return form


def name_of(text: str) -> str:
    """The same for a name that another site gives: what it must not hold is left out, all of it where nothing shows."""
    seen = "".join(each for each in text if not unseen(each))
    return name(seen) if _shows(seen) else ""


def _shows(text: str) -> bool:
    """Whether there is something to see."""
    return bool(_BLANK.sub("", text).strip())


def password(text: str) -> str:
    """The password as it is hashed now."""
    return unicodedata.normalize("NFC", text)


def spellings(text: str) -> tuple[str, ...]:
    """As what a password may have been hashed, when it was hashed as it was typed; the form of now first."""
    return tuple(dict.fromkeys((password(text), text, unicodedata.normalize("NFD", text))))


def _parts(text: str) -> tuple[str, str]:
    found = _EMAIL.fullmatch(text)
    if found is None or len(text) > EMAIL_MAX:
        raise _no_address()
    return found[1], found[2]


def _domain(domain: str) -> str:
    """The domain in Unicode. Raises UnicodeError."""
    return idna.decode(_spelt(domain)) if not domain.isascii() or "xn--" in domain else domain


def _spelt(domain: str) -> str:
    """The domain in ASCII. Raises UnicodeError."""
    return domain if domain.isascii() else idna.encode(domain, uts46=True, std3_rules=True).decode()


def _no_address(why: str = "must be an e-mail address") -> CallFailed:
    return CallFailed(400, f"email: {why}", "email")
