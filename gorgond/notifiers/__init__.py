"""How notifications reach people: a kind of channel is a `Notifier`, found by the name that `[notify.NAME] kind` has,
in the table NOTIFIERS or as an entry point of its group. docs/development.md says how to add one.

    notifier    the contract: what a notifier does, and what the notification server does for it
    delivering  one channel's notifications, each sent once as far as that can be
    digests     what users want to be told of together
    inbox       the channel that is always there: documents in the store
    email       e-mails; `smtp` is how they are handed over
    http        a service that takes them by HTTP; `answers` is what such a one says
    push        browsers; `webpush` is what push services take, which only a browser reads
    templates   what e-mails say
    tidying     what is old leaves the store
    targeted    a channel whose users name several targets each; `places` counts what is on its way
    retrying    those of a channel whose endpoints may be away for days
    webhook     requests to endpoints of users' own, signed
    pace        how many are sent a minute, by all servers together
"""

from gorgond.plugins import Kinds

NOTIFIERS = Kinds(
    "gorgond.notifiers",
    {
        "email": "gorgond.notifiers.email:EmailNotifier",
        "http": "gorgond.notifiers.http:HttpNotifier",
        "push": "gorgond.notifiers.push:PushNotifier",
        "webhook": "gorgond.notifiers.webhook:WebhookNotifier",
    },
)
