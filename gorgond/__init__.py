"""gorgond: a message fabric for web applications on plain Debian hosts.

Many small server processes that talk only through persistent queues, so that any of them can be started, stopped,
killed or upgraded at any moment and nobody outside notices. `gorgond --help` lists the commands; `gorgond.redpill` is
the queue library and can be used alone.
"""

__version__ = "0.1.0"
