"""What users may do: their roles, shown and changed by the operator, who may push to the auth server's own queues."""

from __future__ import annotations

from collections.abc import Sequence

from gorgond.auth.records import Records
from gorgond.auth.users import Users
from gorgond.commands.operator.site import Site
from gorgond.errors import GorgonError
from gorgond.redpill import Caller, Producer


async def roles_of(site: Site, email: str, change: Sequence[str] | None) -> list[str]:
    """The roles of the user of this address, after giving them those of `change`, unless it is None, in place of what
    they had. Raises GorgonError."""
    fabric = site.connect()
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
