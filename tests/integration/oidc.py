"""Another site by way of which one may log in: oidc-provider, from npm."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import left_out

MODULE = Path.home() / ".cache/gorgond/node/node_modules/oidc-provider/lib/index.js"
SECRET = 'secret:100%"odd"+'
CLIENT = f"client_id = gorgond&co\nclient_secret = {SECRET}\n"  # as lines of the configuration


@contextmanager
def provider(callback: str) -> Iterator[str]:
    """It runs, and sends browsers back to `callback`: its address."""
    node = shutil.which("node")
    if node is None or not MODULE.exists():
        left_out("oidc-provider is not installed; tools/test does it")
    command = [node, str(Path(__file__).with_name("oidc.mjs")), str(MODULE), callback, SECRET]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait(timeout=60)
        if process.stdout is not None:
            process.stdout.close()
