"""Finding the applications of a configuration.

    [app] module = shop.handlers    names with blanks between them, each an entry point of the group gorgond.apps, or
                                    a module found from the current directory or through PYTHONPATH
    [app] directory                 each *.py in it is an application too (/etc/gorgond/app.d)

A module has one `App` at its top, and beside it perhaps templates and static files (`gorgond.app.folder`). A
ConfigError tells what is wrong with it, with its file and line.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from gorgond.app import jobapp
from gorgond.app.application import App
from gorgond.app.folder import Folder
from gorgond.blame import describe_fault
from gorgond.config import Config
from gorgond.errors import ConfigError

GROUP = "gorgond.apps"


def load_apps(config: Config) -> list[App]:
    """The applications of this configuration, their modules read anew if they were loaded before; with the routes of
    jobs, if one of them declares any.

    Raises ConfigError; then the modules that were loaded before stay as they were.
    """
    search_here()
    named = config.app.module.split()
    origin = config.settings["app"]["module"].origin
    files = sorted(Path(config.app.directory).glob("*.py")) if config.app.directory else []
    before = _forget(named, files)
    try:
        apps = [_by_name(name, origin) for name in named] + [_in_file(file) for file in files]
        names = [app.name for app in apps]
        if double := next((name for name in names if names.count(name) > 1), ""):
            raise ConfigError(f"there are two applications called {double}")
    except ConfigError:
        _forget(named, files)
        sys.modules.update(before)
        raise
    return [*apps, jobapp.app] if any(app.jobs for app in apps) else apps


def search_here() -> None:
    """Let modules be found from the current directory, too."""
    if os.getcwd() not in sys.path:  # noqa: PTH109 - it is text that is in the path
        sys.path.append(os.getcwd())  # noqa: PTH109


def _forget(named: list[str], files: list[Path]) -> dict[str, ModuleType]:
    """Let the next import read the modules of applications, and those in the same packages, from their files: the
    modules that were loaded."""
    importlib.invalidate_caches()
    tops = {top_of(name) for name in named} - {"gorgond"}
    tops |= {_module_name(file) for file in files}
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in tops}


def top_of(name: str) -> str:
    """The package or module at the top in which the application called so is: all of it is read anew."""
    return _target(name).partition(":")[0].partition(".")[0]


def _target(name: str) -> str:
    """Where the application called so is: the entry point's "module:attribute", or a module."""
    found = list(importlib.metadata.entry_points(group=GROUP, name=name))
    return found[0].value if found else name


def _by_name(name: str, origin: str) -> App:
    target, _, attribute = _target(name).partition(":")
    try:
        found = importlib.util.find_spec(target)
    except ModuleNotFoundError:
        found = None
    except Exception as error:
        raise ConfigError(describe_fault(target, error)) from error
    if found is None:
        raise ConfigError(
            f"{origin}: [app] module: there is no module {target}, neither here nor in PYTHONPATH, and no entry point "
            f"{name} in the group {GROUP}"
        )
    return _app_of(_import(target, lambda: importlib.import_module(target)), attribute)


def _in_file(file: Path) -> App:
    name = _module_name(file)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file}: is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader = spec.loader

    def run() -> ModuleType:
        loader.exec_module(module)
        return module

    return _app_of(_import(str(file), run))


def _module_name(file: Path) -> str:
    return f"gorgond_app_{file.stem}"


def _import(what: str, run: Callable[[], ModuleType]) -> ModuleType:
    try:
        return run()
    except Exception as error:
        raise ConfigError(describe_fault(what, error)) from error


def _app_of(module: ModuleType, attribute: str = "") -> App:
    """The App that a module has, under this name if there is one."""
    found = [getattr(module, attribute, None)] if attribute else list(vars(module).values())
    apps = [each for each in found if isinstance(each, App)]
    if len(apps) != 1:
        number = "no" if not apps else "more than one"
        raise ConfigError(f'{module.__file__}: this module has {number} App; it needs one, as in app = App("notes")')
    if module.__file__:
        apps[0].folder = Folder(apps[0].name, Path(module.__file__).parent)
    return apps[0]
