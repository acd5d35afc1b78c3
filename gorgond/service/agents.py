"""The browser and system that a User-Agent speaks of, in words: "Firefox on Linux". Browsers name each other in it, so
the first name of these tables that is there counts."""

from __future__ import annotations

_BROWSERS = {
    "Edg": "Edge",
    "OPR": "Opera",
    "SamsungBrowser": "Samsung Internet",
    "Firefox": "Firefox",
    "FxiOS": "Firefox",
    "CriOS": "Chrome",
    "Chrome": "Chrome",
    "Safari": "Safari",
}
_SYSTEMS = {
    "Android": "Android",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Windows": "Windows",
    "Macintosh": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}
SHORT = 40  # characters of one that is in neither


def browser_of(agent: str) -> str:
    """What a session was begun with, as its user knows it."""
    browser = next((name for word, name in _BROWSERS.items() if word in agent), "")
    system = next((name for word, name in _SYSTEMS.items() if word in agent), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or agent.partition("/")[0][:SHORT] or "unknown"
