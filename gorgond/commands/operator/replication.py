"""The servers that a broker is made of, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from gorgond.commands.operator import text
from gorgond.commands.operator.text import Row
from gorgond.stats.replication import masters, server_rows


def replication_lines(row: Row) -> list[str]:
    """A table of the servers of a broker by its row in the picture, what that means first; no lines for one by
    itself."""
    servers = server_rows(row)
    if not servers:
        return []
    table = text.table(
        ("server", "is", ">lacks", ">last heard", ">certificate", ""),
        [
            (
                each["where"], _standing(each), _cell(each.get("lacks"), text.size), _ago_cell(each.get("heard")),
                _cell(each["ends_in"], text.duration), each["error"],
            )
            for each in servers
        ],
    )  # fmt: skip
    return [*_summary(row), *table]


def _summary(row: Row) -> Iterator[str]:
    if row["holds"]:
        called = row["name"] or (masters(row) or ["it"])[0]
        yield f"{called} has {row['holds']}"
    if row["failover"]:
        was, ago = row["failover"]["from"], text.duration(row["failover"]["ago"])
        yield f"{row['failover']['to']} has been the master for {ago}, before it was {was}"


def _standing(server: Row) -> str:
    if "names" in server:
        return f"Sentinel, names {server['names']}" if server["names"] else "Sentinel, names nobody"
    return f"replica of {server['follows']}" if server["follows"] else server["role"] or "away"


def _ago_cell(seconds: int | None) -> str:
    return "" if seconds is None else f"{text.duration(seconds)} ago"


def _cell(figure: float | None, shown: text.Figure) -> str:
    return "" if figure is None else shown(figure)
