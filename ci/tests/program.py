"""Runs a program of ci/ as a person does."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def run(
    program: str | Path, *arguments: str, cwd: str | None = None, stdin: str = "", variables: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    """Runs the program without the variables of a job on GitHub."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("GITHUB_")}
    command = [sys.executable, str(program), *arguments]
    return subprocess.run(
        command, cwd=cwd, input=stdin, env=own | dict(variables), capture_output=True, text=True, check=False
    )


def stub(folder: str | Path, name: str, script: str) -> Path:
    """Writes a program with this name. It appends its arguments to NAME.calls. The folder must be on the PATH."""
    path = Path(folder, name)
    path.write_text(f'#!/bin/sh\necho "$@" >> {folder}/{name}.calls\n{script}\n')
    path.chmod(0o755)
    return path


def calls(folder: str | Path, name: str) -> list[str]:
    """Returns the arguments of each call of the stub."""
    path = Path(folder, f"{name}.calls")
    return path.read_text().splitlines() if path.exists() else []
