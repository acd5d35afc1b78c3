"""The roles, one file each, and the table of them. All that lists roles reads the table: the commands, `gorgond up` and
`simulate`, the tests of applications, the rights in Redis, the order in which units are restarted, the stats page,
[instances] of the configuration; and the package's files, which `tools/made.py` writes. docs/development.md says how to
add one.

    web         takes HTTP requests and asks the others
    store       asks the database
    auth        says who asks
    app         runs the handlers of applications
    notify      brings notifications to people
    journal     writes every change to the system log
    stats       shows how everything fares
    provider    brings items in from outside
    row         what a row of the table says
    making      makes an instance of a row
"""

from __future__ import annotations

from collections.abc import Mapping

from gorgond.roles.row import ANY, Access, Indexes, Role, Unit

READ = ("store_get", "store_search", "auth_store_get", "notify_store_get", "provider_store_get")  # the store's queues
WRITTEN = ("store_put", "auth_store_put")
ANNOUNCED = ("store_notify", "store_changed", "stats")  # the topics on which it does

# A question to a database that hangs may take 8 s, a batch of them longer. The queues are the broker's; who answers
# queries has no business in its files.
STORE_UNIT = Unit(
    user="gorgond",
    watchdog=45,
    secrets=("store.url",),
    hides=("/var/lib/gorgond/broker", "/etc/gorgond/broker"),
    lines=("StateDirectory=gorgond",),
)

# In the order in which people see them.
ROLES: Mapping[str, Role] = {
    role.name: role
    for role in (
        Role(
            "web",
            "gorgond.roles.web:WebServer",
            title="web server",
            many="web servers",
            help="run a web server",
            flags={"web": ("address", "port", "deadline"), "app": ("module", "directory")},
            number="1 per core",
            up=2,
            testing=True,
            restarts=5,
            vital=("web server is up",),
            access=Access(
                pushes=("auth_get", "web_get", "store_get", "store_search", "store_put", f"provider_hook:{ANY}"),
                waits_on=("web_data",),
                listens=("store_notify", "notify_live", "job_live"),
            ),
            collections={
                "items": Indexes(
                    newest=("userid",),
                    values=("keywords",),
                    folded=("keywords",),
                    by_time=True,
                    text=("title", "body"),
                    owner="userid",
                )
            },
            unit=Unit(weight=200, port=True, credentials=("auth.key",)),
        ),
        Role(
            "store",
            "gorgond.roles.store:DataStore",
            title="store server",
            many="store servers",
            help="run a store server: queries and changes of the database",
            flags={"store": ("url", "lanes", "batch")},
            number="2",
            up=2,
            testing=True,
            ends=5,
            # Before those who ask over queues that old stores do not know.
            restarts=2,
            database=True,
            vital=("store server is up that reads", "store server is up that writes"),
            access=Access(
                consumes=(*READ, *WRITTEN), replies=True, publishes=("store_notify", "store_changed", "stats")
            ),
            unit=STORE_UNIT,
        ),
        Role(
            "store-read",
            "gorgond.roles.store:StoreReader",
            title="read-only store server",
            many="store servers that only read",
            mode="read",
            number="0",
            up=0,
            ends=5,
            restarts=2,
            database=True,
            vital=("store server is up that reads",),
            access=Access(consumes=READ, replies=True),
            unit=STORE_UNIT,
        ),
        Role(
            "store-write",
            "gorgond.roles.store:StoreWriter",
            title="write-only store server",
            many="store servers that only write",
            mode="write",
            number="0",
            up=0,
            ends=5,
            restarts=2,
            database=True,
            vital=("store server is up that writes",),
            access=Access(consumes=WRITTEN, replies=True, publishes=ANNOUNCED),
            unit=STORE_UNIT,
        ),
        Role(
            "auth",
            "gorgond.roles.auth:AuthServer",
            title="auth server",
            many="auth servers",
            help="run an auth server: who users are",
            flags={"auth": ("idle", "lifetime", "attempts", "address_attempts")},
            number="2",
            testing=True,
            ends=2,
            # Before the stores: what new ones ask over queues of their own waits for the first new store, while new
            # stores refuse what old ones ask. Before the web servers: new ones take what old web servers send, sealed
            # or not.
            restarts=1,
            access=Access(
                pushes=(
                    "auth_put",
                    "auth_erase",
                    "web_get",
                    "auth_store_get",
                    "auth_store_put",
                    "store_get",
                    "store_put",
                    "notify_put",
                    f"notify_put:{ANY}",
                ),
                consumes=("auth_get", "auth_put", "auth_erase"),
                waits_on=("auth_data",),
                replies=True,
                publishes=("auth_notify", "stats"),
                listens=("auth_notify",),
                limits=("auth",),
            ),
            collections={
                "users": Indexes(values=("email",)),
                "sessions": Indexes(values=("userid",)),
                "identities": Indexes(values=("userid",)),
            },
            # Other sites whose users may log in here are asked over the network.
            unit=Unit(credentials=("auth.key",), secrets=("oauth2.*",), opens=("oauth2.",)),
        ),
        Role(
            "app",
            "gorgond.roles.app:AppServer",
            title="app server",
            many="app servers",
            help="run an app server: the handlers of applications",
            flags={"app": ("module", "directory", "requests")},
            number="2",
            up=2,
            only_with=("app.module", "app.directory"),
            testing=True,
            ends=3,
            restarts=4,
            access=Access(
                pushes=(
                    "store_get",
                    "store_search",
                    "store_put",
                    "notify_put",
                    f"app_job:{ANY}",
                    f"notify_put:{ANY}",  # what an endpoint alone is to be sent
                    f"provider_get:{ANY}",
                    f"provider_put:{ANY}",
                ),
                consumes=("web_get", f"app_job:{ANY}"),
                subscribes=(f"{ANY}/{ANY}",),
                waits_on=("store_data", "provider_data"),
                replies=True,
                publishes=("stats", ANY),
                listens=("job_cancel",),
                leases=("every:",),
                jobs=(f"app_job:{ANY}",),
            ),
            collections={"jobs": Indexes(newest=("kept",), values=("userid",), owner="userid"), "crons": Indexes()},
        ),
        Role(
            "notify",
            "gorgond.roles.notify:NotificationServer",
            title="notification server",
            many="notification servers",
            help="run a notification server: inboxes, live, e-mails, push",
            flags={"notify": ("address", "port", "origins")},
            testing=True,
            ends=4,
            access=Access(
                pushes=("notify_put", f"notify_put:{ANY}", "auth_get", "store_get", "store_put", "notify_store_get"),
                consumes=("notify_put", f"notify_put:{ANY}"),
                waits_on=("notify_data",),
                publishes=("stats", "notify_live"),
                listens=("notify_live", "store_notify", "auth_notify"),
                limits=("notify",),
                leases=("notify:",),
            ),
            collections={
                "notifications": Indexes(values=("nid",), owner="id:"),
                "inboxes": Indexes(owner="id"),
                "preferences": Indexes(owner="id"),
                "deliveries": Indexes(newest=("state", "target", "waits"), owner="id:"),
                "browsers": Indexes(values=("endpoint",), owner="id:", targets=True),
                "digests": Indexes(newest=("state",), owner="id:"),
                "endpoints": Indexes(owner="id:", targets=True),
            },
            # A channel that leads outside needs the network.
            unit=Unit(port=True, secrets=("notify.*",), opens=("notify.",)),
        ),
        Role(
            "journal",
            "gorgond.roles.journal:Journal",
            title="journal",
            many="journals, which write every change to the system log",
            help="run a journal, which writes every change to the system log",
            flags={"journal": ("file",)},
            # With the stores; where roles end one by one, after them as in this table: it hears of their last changes.
            ends=5,
            sink=True,
            access=Access(subscribes=("store_notify/journal",)),
            unit=Unit(
                weight=50,
                secrets=("journal.*",),
                kind="journal",
                lines=(
                    "# Where [journal] file may be without a change here, and where it is without journald.",
                    "LogsDirectory=gorgond",
                    "LogsDirectoryMode=0750",
                    "# Of its entries none is to be dropped by journald for being too many.",
                    "LogRateLimitIntervalSec=0",
                ),
            ),
        ),
        Role(
            "stats",
            "gorgond.roles.stats:StatsMonitor",
            title="stats server",
            many="stats servers",
            help="run a stats server: how everything fares, on port 3001",
            flags={"stats": ("address", "port", "open")},
            restarts=5,
            access=Access(
                pushes=("store_get", "store_put"), waits_on=("stats_data",), listens=("stats",), operates=True
            ),
            unit=Unit(
                weight=50,
                port=True,
                secrets=("stats.password",),
                lines=(
                    "# The operator's sessions, which all servers of the port share.",
                    "StateDirectory=gorgond-stats",
                ),
            ),
        ),
        Role(
            "provider",
            "gorgond.roles.provider:DataProvider",
            title="provider",
            many="providers",
            help="run a provider, which brings items in from outside",
            flags={"provider": ("rate", "count", "users", "size", "seed")},
            section="provider",
            ends=4,
            finishes=True,
            access=Access(
                pushes=("provider_store_get", "store_put"),
                consumes=(f"provider_get:{ANY}", f"provider_put:{ANY}", f"provider_hook:{ANY}"),
                waits_on=("cursor_data",),
                replies=True,
                publishes=("stats", "provider_data"),
                leases=("provider:",),
            ),
            unit=Unit(
                weight=50,
                instead=("# One that has done all it shall ends well and is not started again.", "Restart=on-failure"),
            ),
        ),
    )
}

COMMANDS: Mapping[str, Role] = {role.name: role for role in ROLES.values() if not role.mode and not role.program}
"""Those that have a command."""

PRIVATE = ("auth_store_get", "auth_store_put")  # who could push there could be anybody

QUEUES = tuple(queue for queue in ROLES["store"].access.consumes if queue.startswith("store_"))
"""Those of the database, for whoever wants to see what moves."""

SCALED = tuple(role.name for role in ROLES.values() if not role.section)
"""Those of which there is any number."""

ENDING = tuple(sorted(ROLES.values(), key=lambda role: role.ends))
"""In the order in which they end."""


def place(role: str) -> tuple[int, str]:
    """Sorts names of roles as the table does; one that is not in it comes last."""
    return ([*ROLES, role].index(role), role)


def restarting(instance: str) -> tuple[int, int, str, int, str]:
    """Sorts names of instances, store@2, in the order in which they restart: by role, then by number. A name that is no
    instance's, as a broker's, comes last."""
    role, _, name = instance.partition("@")
    first = ROLES[role].restarts if role in ROLES else len(ROLES)
    return (first, *place(role), int(name) if name.isdecimal() else 0, name)
