"""Does what the README of a library tells its reader, in an empty folder: its quickstart, and the test of a handler.

    python3 bindings/quickstart.py python|ruby|typescript PACKAGE...

The only change is that it installs these packages instead of the published ones. All files, commands and their output
come from the README. TASKER_BIN_DIR is the folder of `tasker-cli`, otherwise it is on the PATH.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
#: How long a command may take, in seconds: far longer than it does.
LIMIT = 300
#: The name of each package.
NAMES = {"python": "tasker-py", "ruby": "tasker-rb", "typescript": "@tasker-systems/tasker"}


def parts(language: str) -> Iterator[tuple[str, str]]:
    """Return the files, by name, and the blocks of commands, whose name is empty, in the order of the README."""
    readme = (ROOT / "bindings" / language / "README.md").read_text()
    for title in ("Quickstart", "Test a handler"):
        (section,) = re.findall(rf"^## {title}\n(.*?)^## ", readme, re.DOTALL | re.MULTILINE)
        name = ""
        for saved, kind, text in re.findall(
            r"\bas\s+`([^`]+)`|^```(\w+)\n(.*?)^```", section, re.DOTALL | re.MULTILINE
        ):
            if saved:
                name = saved
            elif kind == "console":
                yield "", text
            else:
                yield name, text


class Reader:
    """A terminal for each command that keeps running, and one for the others."""

    def __init__(self, language: str, packages: list[Path], folder: Path) -> None:
        self._name, self._packages, self._folder = NAMES[language], packages, folder
        path = [os.environ.get("TASKER_BIN_DIR", ""), os.environ["PATH"]]
        self._environment = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
        if language == "python":
            venv.create(folder / "venv", with_pip=True)
            path.insert(0, str(folder / "venv/bin"))
            self._environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "1"}
        elif language == "ruby":
            self._environment |= {"GEM_HOME": str(folder / "gems")}
        self._environment["PATH"] = ":".join(filter(None, path))
        self._running: list[subprocess.Popen[str]] = []

    def read(self, language: str) -> None:
        """Save the files, run the commands, and stop what keeps running."""
        try:
            for name, text in parts(language):
                if name:
                    path = self._folder / name
                    path.parent.mkdir(exist_ok=True)
                    path.write_text(text)
                    continue
                for command, output in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
                    self._enter(command, output)
        finally:
            # Ctrl-C in each terminal.
            codes = [stop(process) for process in reversed(self._running)]
        if codes != [0, 0]:
            raise SystemExit(f"the worker and tasker-cli ended with {codes}")

    def _enter(self, command: str, expected: str) -> None:
        command = command.replace(self._name, shlex.join(map(str, self._packages)))
        addresses = self._folder / "tasker.env"
        if command.startswith("tasker-cli dev"):
            # Other servers may run on this machine.
            self._keep_running(f"{command} --port 0", lambda log: "Press Ctrl-C" in log)
            (url,) = re.findall(r"^TASKER_ORCHESTRATION_URL='(.*)'$", addresses.read_text(), re.MULTILINE)
            self._environment["TASKER_ORCHESTRATION_URL"] = url
        elif addresses.name in command:
            self._keep_running(command, lambda log: "worker started" in log)
        else:
            print(f"$ {command}", flush=True)
            done = self._start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            output, _ = done.communicate(timeout=LIMIT)
            print(output, end="", flush=True)
            if done.returncode != 0 or expected not in output:
                raise SystemExit(f"exit code {done.returncode}; the README says that it prints {expected!r}")

    def _keep_running(self, command: str, ready: Callable[[str], bool]) -> None:
        print(f"$ {command} &", flush=True)
        log = self._folder / f"{len(self._running)}.log"
        with log.open("w") as output:
            process = self._start(command, stdout=output, stderr=output, start_new_session=True)
        self._running.append(process)
        end = time.monotonic() + LIMIT
        while not ready(log.read_text()):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"it did not start:\n{log.read_text()}")
            time.sleep(0.1)

    def _start(self, command: str, **options: Any) -> subprocess.Popen[str]:
        options |= {"cwd": self._folder, "env": self._environment, "stdin": subprocess.DEVNULL, "text": True}
        return subprocess.Popen(["bash", "-c", command], **options)


def stop(process: subprocess.Popen[str]) -> int:
    """Interrupt the processes of a terminal."""
    os.killpg(process.pid, signal.SIGINT)
    return process.wait(LIMIT)


def main() -> None:
    """Read a README."""
    language, *packages = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="tasker-quickstart.") as name:
        folder = Path(name).resolve()
        # Root runs PostgreSQL as another user, who must be able to enter.
        folder.chmod(0o755)
        Reader(language, [Path(package).resolve(strict=True) for package in packages], folder).read(language)
    print(f"the README of bindings/{language} is right")


main()
