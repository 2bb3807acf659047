"""A server with a database, and a template for each test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tasker

ROOT = Path(__file__).parents[3]
#: How long anything in a test may take, in seconds: far longer than it does unless the test fails.
DEADLINE = 60


def binary(name: str) -> str:
    folder = Path(os.environ.get("TASKER_BIN_DIR") or ROOT / "target" / "debug")
    path = folder / name
    assert path.is_file(), f"{path} is missing: run `cargo build --workspace --bins`, or set TASKER_BIN_DIR"
    return str(path)


@dataclass
class Stack:
    """A server on a database of its own."""

    url: str
    database_url: str

    @property
    def client(self) -> tasker.Client:
        return tasker.Client(self.url)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    # PostgreSQL runs as another user if the tests run as root.
    for parent in [folder, *folder.parents[:2]]:
        parent.chmod(0o755)
    log = folder / "log"
    command = [binary("tasker-cli"), "dev", "--json", "--port", "0", "--worker-port", "0"]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*command, "--data-dir", str(folder / "postgresql")],
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
            text=True,
        )
    assert process.stdout is not None
    with process, process.stdout as stdout:
        text = ""
        for line in stdout:
            text += line
            if line.startswith("}"):
                break
        try:
            assert text, log.read_text()
            urls = json.loads(text)
            yield Stack(urls["orchestration_url"], urls["database_url"])
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(DEADLINE)


@pytest.fixture
def namespace() -> str:
    return f"py_{uuid.uuid4().hex}"


@pytest.fixture
def template(tmp_path: Path, namespace: str) -> Callable[..., Path]:
    """Write the template ``test``. The callables of its steps are ``NAMESPACE.NAME`` unless they say otherwise."""

    def write(**steps: dict[str, Any]) -> Path:
        path = tmp_path / "test.yaml"
        listed = [
            {"name": name, "handler": {"callable": f"{namespace}.{name}"}, "retry": {"limit": 1}, **fields}
            for name, fields in steps.items()
        ]
        # JSON is YAML.
        path.write_text(json.dumps({"name": "test", "namespace_name": namespace, "version": "1.0.0", "steps": listed}))
        return path

    return write
