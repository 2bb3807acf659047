"""Tests that the API does what its description (OpenAPI) says: schemathesis sends requests that follow from the
description, and others that break it, to a server without keys and to one with a key.

    python3 ci/conformance.py                            two runs of 50 s with the same requests as on a pull request
    python3 ci/conformance.py --seed 7 --seconds 300     other requests, and more of them

It builds `tasker-cli` and runs `tasker-cli dev`: a private PostgreSQL, a server and a worker. It needs schemathesis
(ci/tools/requirements.txt). ci/schemathesis.toml holds what is accepted beyond the defaults, with the reasons.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import report
from report import Problem

ROOT = Path(__file__).parent.parent
CONFIG = Path(__file__).with_name("schemathesis.toml")
# Where cargo builds.
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
# For the logs of the stacks, and what schemathesis keeps.
FOLDER = ROOT / "target" / "conformance"
# Otherwise a request with `wait` can take a minute.
SETTINGS = """[orchestration]
max_wait_ms = 500
[logging]
format = "json"
"""
# How long the stack may take to stop, in seconds.
STOP = 30
# The server logs this if a query fails that should not, or a handler panics.
BUG = '"level":"ERROR"'


def build() -> Path:
    """Returns the program, newly built."""
    done = report.command(["cargo", "build", "--locked", "--bin", "tasker-cli"], cwd=ROOT, stdout=None, stderr=None)
    if done.returncode != 0:
        raise Problem("tasker-cli cannot be built")
    return TARGET / "debug" / "tasker-cli"


@contextlib.contextmanager
def stack(program: Path, key: str | None, log: Path) -> Iterator[str]:
    """Runs a stack, with a key or without. Gives the address of the server."""
    unset = ("DATABASE_URL", "API_KEY", "API_KEY_FILE", "JWT_PUBLIC_KEY", "JWT_PUBLIC_KEY_FILE")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    if key:
        environment["API_KEY"] = key
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder, log.open("w", encoding="utf-8") as errors:
        # PostgreSQL may run as another user.
        Path(folder).chmod(0o755)
        settings = Path(folder, "settings.toml")
        settings.write_text(SETTINGS)
        environment["TASKER_CONFIG_PATH"] = str(settings)
        line = [program, "dev", "--json", "--port", "0", "--worker-port", "0", "--data-dir", f"{folder}/postgresql"]
        with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            try:
                assert process.stdout
                lines = []
                for text in process.stdout:
                    lines.append(text)
                    if text == "}\n":
                        break
                else:
                    raise Problem(f"the stack did not start; its log is {log}")
                yield json.loads("".join(lines))["orchestration_url"]
            finally:
                process.terminate()
                try:
                    process.wait(STOP)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise Problem(f"the stack did not stop within {STOP} s; its log is {log}") from None


def conforms(url: str, key: str | None, seed: int, seconds: int) -> bool:
    """Runs schemathesis. Returns whether the API did what its description says."""
    line = ["schemathesis", "--config-file", str(CONFIG), "run", f"{url}/openapi.json", "--checks", "all"]
    line += ["--seed", str(seed), "--max-time", str(seconds), "--continue-on-failure", "--no-color"]
    if key:
        line += ["--header", f"Authorization: Bearer {key}"]
    return report.command(line, cwd=FOLDER, stdout=None, stderr=None).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="chooses the requests (default: 1)")
    parser.add_argument("--seconds", type=int, default=50, help="how long each of the two runs may take (default: 50)")
    arguments = parser.parse_args()

    program = build()
    FOLDER.mkdir(parents=True, exist_ok=True)
    good = True
    for name, key in (("without keys", None), ("with a key", secrets.token_hex(32))):
        print(f"\n=== A server {name}, seed {arguments.seed}", flush=True)
        log = FOLDER / f"{name.replace(' ', '-')}.log"
        with stack(program, key, log) as url:
            good &= conforms(url, key, arguments.seed, arguments.seconds)
        if bugs := [text for text in log.read_text(encoding="utf-8").splitlines() if BUG in text]:
            print(f"{log} has {len(bugs)} errors, such as\n{report.block(bugs[:5])}")
            good = False
    return 0 if good else 1


if __name__ == "__main__":
    report.run(main)
