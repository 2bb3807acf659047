"""Runs a program of ci/ as people do."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def run(
    program: str | Path, *arguments: str, cwd: str | None = None, stdin: str = "", variables: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    """The finished program. It does not know that it may be in a job on GitHub."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("GITHUB_")}
    command = [sys.executable, str(program), *arguments]
    return subprocess.run(
        command, cwd=cwd, input=stdin, env=own | dict(variables), capture_output=True, text=True, check=False
    )


def stub(folder: str | Path, name: str, script: str) -> Path:
    """A program of this name in the folder, which is to be on the PATH; it notes its arguments in NAME.calls."""
    path = Path(folder, name)
    path.write_text(f'#!/bin/sh\necho "$@" >> {folder}/{name}.calls\n{script}\n')
    path.chmod(0o755)
    return path


def calls(folder: str | Path, name: str) -> list[str]:
    """The arguments of each call of the stub."""
    path = Path(folder, f"{name}.calls")
    return path.read_text().splitlines() if path.exists() else []
