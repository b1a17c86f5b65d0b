"""Chromium without a window."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from typing import TYPE_CHECKING

from foreign_peers import find

if TYPE_CHECKING:
    from pathlib import Path


def browse(url: str, home: Path, expected: str) -> str:
    """Open a page in Chromium, with a profile of the test's own; return it if it has a text, else the browser's error."""
    program = find("chromium", "chromium")
    with tempfile.TemporaryDirectory() as profile:
        command = [
            program,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            f"--user-data-dir={profile}",
            "--dump-dom",
            url,
        ]
        environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            try:
                out, error = process.communicate(timeout=120)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
    return out if expected in out else error
