"""The rights of users: their roles, shown and changed by the operator, who may push to the auth server's own queues."""

from __future__ import annotations

from collections.abc import Sequence

from gorgond.auth import texts
from gorgond.auth.records import Records
from gorgond.auth.users import Users
from gorgond.commands.operator.installation import Installation
from gorgond.errors import GorgonError
from gorgond.redpill import Caller, Producer
from gorgond.service.pseudonyms import Pseudonyms


def describe_change(installation: Installation, email: str, roles: Sequence[str]) -> str:
    """The words of the log about a change: the account by the pseudonym that auth servers give it."""
    key = installation.auth_key()
    who = Pseudonyms(key.encode()).of("account", texts.account(email)) if key else "an account"
    return f"{who} has the roles {' '.join(roles) or 'none'} now"


async def roles_of(installation: Installation, email: str, change: Sequence[str] | None) -> list[str]:
    """The roles of the user of this address, after giving them those of `change`, unless it is None, in place of what
    they had. Raises GorgonError."""
    fabric = installation.connect()
    async with (
        Producer(fabric.calls, "gorgonctl") as producer,
        Caller(fabric.calls, producer, "ctl_data", "gorgonctl") as caller,
    ):
        users = Users(Records(caller))
        user = await users.by_email(email)
        if user is None:
            raise GorgonError(f"there is no user {email}")
        if change is None:
            return list(user["roles"])
        await users.change(user, {"roles": list(change)})
        return list(change)
