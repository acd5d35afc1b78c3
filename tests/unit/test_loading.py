"""Applications are found where the configuration says, and what is wrong with them is told with file and line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gorgond.app.application import App
from gorgond.app.loading import load_apps
from gorgond.config import load
from gorgond.errors import ConfigError

APP = "from gorgond import App\napp = App({name!r})\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Path]]:
    """Writes a file in a directory of PYTHONPATH; its modules are forgotten in the end."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def written(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        os.utime(path, ns=(os.stat(path).st_mtime_ns + len(text),) * 2)  # noqa: PTH116 - so that a change is seen
        return path

    yield written
    for name in set(sys.modules) - before:
        del sys.modules[name]


def loaded(module: str = "", directory: str = "") -> list[App]:
    return load_apps(load(os.devnull, {}, {"app.module": module, "app.directory": directory}))


def test_without_any_there_are_none() -> None:
    assert loaded() == []
    assert loaded(directory="/nonexistent") == []


def test_by_module_by_entry_point_and_in_a_directory(write: Callable[[str, str], Path], tmp_path: Path) -> None:
    # given a module in a package, one that an installed package names as an entry point, and a file in a directory
    write("ta_shop/__init__.py", "")
    write("ta_shop/handlers.py", APP.format(name="shop"))
    write("ta_blog.py", APP.format(name="blog").replace("app =", "blog ="))
    write("blog-1.0.dist-info/entry_points.txt", "[gorgond.apps]\nweblog = ta_blog:blog\n")
    write("blog-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: blog\nVersion: 1.0\n")
    write("app.d/ta_notes.py", APP.format(name="notes"))
    # then all are found
    apps = loaded("ta_shop.handlers weblog", str(tmp_path / "app.d"))
    assert [app.name for app in apps] == ["shop", "blog", "notes"]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("import os\nimport nothing_of_this_name\n", 2, "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("x = 1\nx = = 2\n", 2, "invalid syntax"),
        ("\n\n1 / 0\n", 3, "ZeroDivisionError: division by zero"),
        (APP.format(name="a") + "@app.get('/x')\ndef f(ctx): ...\n", 3, "must be an async def"),
        # raised in a library, or in Python's own: the line is the author's
        ("import json\n\njson.loads('{')\n", 3, "JSONDecodeError: Expecting property name"),
        ("import redis\nredis.Redis.from_url('x://y')\n", 2, "ValueError: "),
        (APP.format(name="a") + "@app.get('/x')\nasync def f(ctx, n: 'list[in]'): ...\n", 3, "SyntaxError: "),
        (APP.format(name="a") + "@app.get('/x')\nasync def f(ctx, n: 'itn'): ...\n", 3, "name 'itn' is not defined"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    write: Callable[[str, str], Path], text: str, line: int, says: str
) -> None:
    path = write("ta_wrong.py", text)
    with pytest.raises(ConfigError) as wrong:
        loaded("ta_wrong")
    assert str(wrong.value).startswith(f"{path}:{line}: ")
    assert says in str(wrong.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no App; it needs one"),
        (APP.format(name="a") + "other = App('b')\n", "has more than one App"),
    ],
)
def test_a_module_has_one_app(write: Callable[[str, str], Path], text: str, says: str) -> None:
    write("ta_none.py", text)
    with pytest.raises(ConfigError, match=says):
        loaded("ta_none")


def test_a_module_that_is_nowhere() -> None:
    with pytest.raises(ConfigError, match=r"--module: \[app\] module: there is no module ta_nowhere\.x, neither here"):
        loaded("ta_nowhere.x")


def test_two_of_one_name_are_refused(write: Callable[[str, str], Path]) -> None:
    write("ta_one.py", APP.format(name="same"))
    write("ta_two.py", APP.format(name="same"))
    with pytest.raises(ConfigError, match="two applications called same"):
        loaded("ta_one ta_two")


def test_a_changed_module_is_read_anew_and_a_wrong_one_leaves_the_old(write: Callable[[str, str], Path]) -> None:
    # given an application in a package, with a module of its own
    write("ta_pack/__init__.py", "")
    write("ta_pack/names.py", "NAME = 'first'\n")
    write("ta_pack/main.py", "from gorgond import App\nfrom ta_pack.names import NAME\napp = App(NAME)\n")
    assert [app.name for app in loaded("ta_pack.main")] == ["first"]
    # when the module that it imports is changed, then so is the application
    write("ta_pack/names.py", "NAME = 'second'\n")
    assert [app.name for app in loaded("ta_pack.main")] == ["second"]
    module = sys.modules["ta_pack.main"]
    # when it is broken, then the module that was loaded stays
    write("ta_pack/names.py", "NAME = = 'third'\n")
    with pytest.raises(ConfigError, match=r"names\.py:1"):
        loaded("ta_pack.main")
    assert sys.modules["ta_pack.main"] is module
