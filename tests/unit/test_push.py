"""What a browser is told, which always fits; and whom a push service may turn to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gorgond.config import load
from gorgond.errors import ConfigError, NotSent, TargetGone
from gorgond.notifiers.notifier import Notification, Recipient
from gorgond.notifiers.push import Push, PushNotifier, payload
from gorgond.notifiers.webpush import PLAIN_MAX, packed

SITE = "https://notes.example"
BROWSER = {"id": "7:0", "endpoint": "https://push.example/1", "auth": packed(bytes(16))}


def notification(data: Any) -> Notification:
    return Notification("0" * 32, "7", "comment.new", "A comment", data, 5)


@pytest.mark.parametrize("letter", ["x", "é", "語", "🎻", "\x01", '"', "\\"])
def test_whatever_is_said_fits(letter: str) -> None:
    data = {"title": letter * 3000, "text": letter * 3000, "url": "/" + letter * 3000}
    raw = payload(notification(data), SITE)
    assert len(raw) <= PLAIN_MAX
    # and begins as it was said
    said = json.loads(raw)
    assert said["title"] == letter * 99 + "…"
    assert said["text"] == letter * 299 + "…"
    assert said["url"] == ""


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, ("A comment", "", "")), ("text", ("A comment", "", "")), ({"title": 5, "text": None}, ("5", "", "")),
        ({"title": "T", "text": "t", "url": "/note/7"}, ("T", "t", f"{SITE}/note/7")),
        ({"url": "https://other.example/"}, ("A comment", "", "https://other.example/")),
        ({"url": "javascript:alert(1)"}, ("A comment", "", "")), ({"url": "//other.example"}, ("A comment", "", "")),
        ({"url": "/\\other.example"}, ("A comment", "", "")),
    ],
)  # fmt: skip
def test_it_says_what_its_data_says_and_leads_nowhere_else(data: Any, expected: tuple[str, str, str]) -> None:
    assert tuple(notification(data).brief(SITE)) == expected


def test_a_path_stays_one_where_nobody_has_said_what_the_website_is() -> None:
    assert notification({"url": "/note/7"}).brief("").url == "/note/7"


@pytest.mark.parametrize(
    "contact", ["ops@example.org", "mailto:<ops@example.org>", "mailto:ops@localhost", "mailto:a b@c.d", "http://x.y"]
)
def test_whom_no_push_service_could_turn_to_is_refused(tmp_path: Path, contact: str) -> None:
    conf = tmp_path / "gorgond.conf"
    conf.write_text(f"[notify.push]\nkind = push\ncontact = {contact}\n")
    with pytest.raises(ConfigError, match=r"\[notify.push\] contact cannot be"):
        load(str(conf), {}, {})


def test_nobody_to_turn_to_is_said_at_the_start() -> None:
    with pytest.raises(ConfigError, match=r"\[notify.push\] contact is empty"):
        PushNotifier("push", Push(kind="push"))


class OwnKey:
    """Keeps the key that it is given."""

    async def kept_key(self, public: str, private: str) -> str:
        return private


@pytest.mark.parametrize("point", [packed(b"\4" + bytes(64)), packed(b"\4" + b"\1" * 64)])
async def test_a_browser_whose_key_is_none_is_forgotten_and_one_waits_for_ours(point: str) -> None:
    notifier = PushNotifier("push", Push(kind="push", contact="mailto:ops@example.org"))
    nora = Recipient("7", "", "", "", SITE, {**BROWSER, "p256dh": point})
    with pytest.raises(NotSent, match="is not there yet"):
        await notifier.send(notification(None), nora)
    await notifier.open(OwnKey())
    with pytest.raises(TargetGone, match="the browser's key is none"):
        await notifier.send(notification(None), nora)
    await notifier.close()
