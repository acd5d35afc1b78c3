"""Where events go that leave the fabric: a kind of sink is found by its name in the table SINKS, or as an entry point
of its group. docs/development.md says how to add one.

    sink        the contract: what a sink does
    handing     the events of a durable group, handed to a sink: for every role that has one
    opening     the sink that the configuration names
    journald file     the two that come with gorgond; `entry` is what of an event they write
"""

from gorgond.plugins import Kinds

SINKS = Kinds(
    "gorgond.sinks", {"journald": "gorgond.sinks.journald:JournaldSink", "file": "gorgond.sinks.file:FileSink"}
)
