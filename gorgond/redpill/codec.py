"""JSON in and out as bytes: orjson where it is installed, the standard library where not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Default = Callable[[Any], Any]

try:
    import orjson
except ImportError:  # Debian 12 has no orjson
    _encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode

    def dumps(value: Any, default: Default | None = None) -> bytes:
        """`value` as compact JSON; `default` turns what JSON does not know into what it knows.

        Raises TypeError or ValueError for what cannot be written.
        """
        if default is None:
            return _encode(value).encode()
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=default).encode()

    def loads(data: bytes | str) -> Any:
        """The value that `data` holds. Raises ValueError."""
        return json.loads(data)

else:

    def dumps(value: Any, default: Default | None = None) -> bytes:
        """`value` as compact JSON; `default` turns what JSON does not know into what it knows.

        Raises TypeError or ValueError for what cannot be written.
        """
        return orjson.dumps(value, default)

    def loads(data: bytes | str) -> Any:
        """The value that `data` holds. Raises ValueError."""
        return orjson.loads(data)
