"""`gorgond`, which `python -m gorgond` is too. A server takes its signals before it imports what it needs: that takes
longest of its start, and it may be asked to end by then."""

import sys

from gorgond.service import signals


def main() -> int:
    """Run the command; its exit code."""
    if sys.argv[1:2] and sys.argv[1] in signals.SERVERS:
        signals.begin()
    from gorgond import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
