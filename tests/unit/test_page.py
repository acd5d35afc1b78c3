"""The stats page's files: they fit together, ask no other host for anything, and their colours can be read."""

from __future__ import annotations

import configparser
import fnmatch
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "gorgond/stats/page"
INDEX = (PAGE / "index.html").read_text()
STYLE = (PAGE / "page.css").read_text()
SCRIPTS = {path.name: path.read_text() for path in PAGE.glob("*.js")}
SVG = "http://www.w3.org/2000/svg"  # a name, not a place


class Elements(HTMLParser):
    """All elements of a page: their names and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str]]] = []
        self.feed(INDEX)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, {name: value or "" for name, value in attrs}))


ELEMENTS = Elements().all
IDS = [attributes["id"] for _, attributes in ELEMENTS if "id" in attributes]


# ---- the files


def test_every_file_that_is_named_is_there() -> None:
    # given what the page and its scripts name
    named = {
        value.partition("/")[2] for _, attributes in ELEMENTS for value in attributes.values() if "static/" in value
    }
    named |= {name for script in SCRIPTS.values() for name in re.findall(r'(?:from|import) "\./([^"]+)"', script)}
    named |= {f"{state}.svg" for state in ("well", "degraded", "down", "unknown", "stale")}
    # then these are the files, no more and no fewer
    assert named | {"index.html"} == {path.name for path in PAGE.iterdir()}


def test_no_other_host_is_named() -> None:
    for path in PAGE.iterdir():
        text = path.read_text().replace(SVG, "")
        assert re.findall(r"\w+://|url\(|@import|src=\"//", text) == [], path.name


def test_a_strict_content_security_policy_suffices() -> None:
    # then there is no script and no style within the page
    assert not [attributes for tag, attributes in ELEMENTS if tag == "script" and not attributes.get("src")]
    assert not [tag for tag, attributes in ELEMENTS if tag == "style" or "style" in attributes]
    assert not [name for _, attributes in ELEMENTS for name in attributes if name.startswith("on")]
    # nor do the scripts make any
    for name, script in SCRIPTS.items():
        assert re.findall(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script) == [], name


def test_every_element_that_a_script_asks_for_is_there() -> None:
    assert [name for name, count in Counter(IDS).items() if count > 1] == []
    for name, script in SCRIPTS.items():
        assert set(re.findall(r'\$\("([^"]+)"\)', script)) <= set(IDS), name


def test_every_control_has_a_name() -> None:
    referred = " ".join(attributes.get("aria-labelledby", "") for _, attributes in ELEMENTS).split()
    assert set(referred) <= set(IDS)
    labelled = {attributes.get("for") for tag, attributes in ELEMENTS if tag == "label"}
    for tag, attributes in ELEMENTS:
        if tag == "select" or (tag == "input" and attributes.get("type") == "password"):
            assert attributes["id"] in labelled
        if "tabindex" in attributes and attributes.get("role"):
            assert "aria-label" in attributes or "aria-labelledby" in attributes


def test_the_package_has_every_file() -> None:
    # given the patterns of setup.cfg
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = setup["options.package_data"]["gorgond.stats"].split(", ")
    # then each file is one of them
    names = [f"page/{path.name}" for path in PAGE.iterdir()]
    assert [name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)] == []


# ---- the colours


def colours(theme: int) -> dict[str, str]:
    """The page's colours by name; theme 0 is the light one, 1 the dark one."""
    found = re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", STYLE)
    return {name: (light, dark)[theme] for name, light, dark in found}


def luminance(colour: str) -> float:
    """Relative luminance, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


TEXT = [
    *((ink, ground) for ink in ("ink", "muted") for ground in ("ground", "surface", "hover")),
    *((ink, ground) for ink in ("accent", "well", "degraded", "down") for ground in ("surface", "hover")),
    *((ink, f"{state}-tint") for ink in ("ink", "muted") for state in ("well", "degraded", "down", "stale")),
    ("accent", "ground"),
    ("on-accent", "accent"),
]
PARTS = [
    *((state, f"{state}-tint") for state in ("well", "degraded", "down")),
    *(("edge", ground) for ground in ("surface", "ground", "hover")),
    *(("accent", ground) for ground in ("ground", "well-tint", "degraded-tint", "down-tint", "stale-tint")),
]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast_is_wcag_aa(theme: int) -> None:
    # given the colours that text has, and the parts without which a control or a state is not seen
    palette = colours(theme)
    text = {pair: contrast(palette[pair[0]], palette[pair[1]]) for pair in TEXT}
    parts = {pair: contrast(palette[pair[0]], palette[pair[1]]) for pair in PARTS}
    # then the ratios are those of WCAG 2.2 AA, 1.4.3 and 1.4.11
    assert {pair: round(ratio, 2) for pair, ratio in text.items() if ratio < 4.5} == {}
    assert {pair: round(ratio, 2) for pair, ratio in parts.items() if ratio < 3} == {}


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_more_is_more_contrast_in_the_heat_map(theme: int) -> None:
    # given the ramp on its ground
    palette = colours(theme)
    ratios = [contrast(palette[f"heat-{step}"], palette["surface"]) for step in range(1, 6)]
    # then each step stands out more, and the fullest cells by far
    assert ratios == sorted(ratios)
    assert ratios[-1] > 7


def test_contrast_is_computed_as_wcag_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
