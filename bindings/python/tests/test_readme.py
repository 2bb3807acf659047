"""The quickstart works as it is written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from conftest import DEADLINE, Stack

README = Path(__file__).parents[1] / "README.md"


def blocks() -> dict[str, str]:
    """Return the files of the README by name, with the test of the handlers."""
    text = README.read_text()
    found = dict(re.findall(r"as\s+`(\S+?\.(?:py|yaml))`.*?```\w+\n(.*?)```", text, re.DOTALL))
    (found["test_greet.py"],) = re.findall(r"## Test a handler\n\n```python\n(.*?)```", text, re.DOTALL)
    return found


def test_the_quickstart_works(stack: Stack, tmp_path: Path) -> None:
    files = blocks()
    assert set(files) == {"templates/greeting.yaml", "worker.py", "greet.py", "test_greet.py"}
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    environment = {**os.environ, "DATABASE_URL": stack.database_url, "TASKER_URL": stack.url}
    worker = subprocess.Popen([sys.executable, "worker.py"], cwd=tmp_path, env=environment)
    try:
        end = time.monotonic() + DEADLINE
        while True:
            greet = subprocess.run(
                [sys.executable, "greet.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            # The worker stores the template when it starts.
            if "404" not in greet.stderr:
                break
            assert time.monotonic() < end and worker.poll() is None, greet.stderr
        assert greet.stdout == "completed HELLO, ADA\n", greet.stderr
    finally:
        worker.send_signal(signal.SIGINT)
        assert worker.wait(DEADLINE) == 0

    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_greet.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in tested.stdout, tested.stdout
