"""What notification servers send to refuses, hangs, and hangs up."""

from __future__ import annotations

from collections import Counter

from gorgond.app.notifying import notification_id
from gorgond.chaos import witness
from gorgond.chaos.attempts import ACKNOWLEDGED, read
from gorgond.chaos.drill import Drill, Run
from gorgond.chaos.load import NOTIFY, Plan
from gorgond.chaos.mailserver import MailServer, Mood, lacks_mail
from gorgond.chaos.stage import Cast

MOODS: tuple[Mood, ...] = ("refuses", "hangs", "hangs up")
LASTS = 6.0  # seconds: what fails at the first attempt comes again after 10 s, and after 20 more
INBOX = 5.0  # seconds within which inboxes must have what was accepted, whatever the mail server does
SENT = 60.0  # and the mail server, when it works again


def _smtp_down(run: Run) -> None:
    with run.mail_server() as mail:
        for mood in MOODS:
            run.faults.begin(mood, "mail server", lambda mood=mood: setattr(mail, "mood", mood))  # type: ignore[misc]
            run.sleep(run.seconds(LASTS, 2.0))
            _see_inboxes(run, mood)
            run.faults.end(mood, "mail server", lambda: setattr(mail, "mood", "works"))
            run.sleep(run.seconds(2.0, 0.5))
        if not run.options.dry:
            run.load.stop()
            _see_mails(run, mail)


def _see_inboxes(run: Run, mood: Mood) -> None:
    """Inboxes do not wait for the mail server."""
    before = _accepted(run)

    def are_there() -> bool:
        found = witness.Found()
        witness.look_at_store(run.target.config, (), run.load.told, found)
        return before <= found.stored.keys()

    run.until(are_there, INBOX, f"inboxes have what came while the mail server {mood}")


def _see_mails(run: Run, mail: MailServer) -> None:
    """Each e-mail comes, and comes again as the same one as often at most as it was not said that it was taken."""
    wanted = {notification_id(mark) for mark in _accepted(run)}
    run.until(lambda: wanted <= set(mail.taken), SENT, "the mail server has all e-mails")
    times = Counter(mail.taken)
    there = wanted & times.keys()
    run.check("e-mails", there == wanted, f"{len(there)} of {len(wanted)} are with the mail server")
    again, unsaid = times - Counter(times.keys()), Counter(mail.unsaid)
    text = f"{again.total()} came again, {(again - unsaid).total()} of them although it had said that it has them"
    run.check("e-mails again", again <= unsaid, text)


def _accepted(run: Run) -> set[str]:
    """The marks of the notifications that were accepted by now."""
    if run.options.dry:
        return set()
    return {each.mark for each in read(run.book.path) if each.way == NOTIFY and each.result == ACKNOWLEDGED}


DRILLS = (
    Drill(
        "smtp-down",
        "a mail server of the drill's own refuses, hangs, and hangs up on what it has taken",
        _smtp_down,
        # Some e-mails a second, for users with an address.
        plan=Plan(clients=6, queuers=2, rate=2.0, ways=("post", "async", "me"), queued=("push", NOTIFY)),
        cast=Cast(mail=True),
        roles=("notify",),
        lacks=lacks_mail,
    ),
)
