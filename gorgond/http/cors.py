"""Pages of other sites: which of them may ask, and read what is answered (CORS, Fetch Standard 3.2).

They never come with the session's cookie; their scripts send `Authorization`, as programs do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ANY = "*"  # every site
AGE = "3600"  # seconds for which a browser need not ask again whether it may

_NONE: Mapping[str, str] = {}


def is_shared(origins: Sequence[str], origin: str) -> bool:
    """Whether pages of this origin are among those."""
    return origin in origins or (ANY in origins and bool(origin))


def sharing(origins: Sequence[str], origin: str) -> Mapping[str, str]:
    """The headers of an answer that pages of these origins may read, of which one asks."""
    if ANY in origins:
        return {"Access-Control-Allow-Origin": ANY, "Access-Control-Expose-Headers": ANY}
    told = {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": ANY, "Vary": "Origin"}
    return told if origin in origins else {"Vary": "Origin"}


def permission(origins: Sequence[str], origin: str, method: str) -> Mapping[str, str]:
    """The headers that tell a browser that it may ask so; none where it may not."""
    if not is_shared(origins, origin):
        return _NONE
    allowed = {"Access-Control-Allow-Methods": method, "Access-Control-Allow-Headers": "Authorization, *"}
    return {**sharing(origins, origin), **allowed, "Access-Control-Max-Age": AGE}
