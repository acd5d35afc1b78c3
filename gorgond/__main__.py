"""`python -m gorgond` is `gorgond`."""

import sys

from gorgond.cli import main

sys.exit(main())
