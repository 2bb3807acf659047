"""Compares sample workers, one at a time, on one server: start, latency, throughput, memory.

    cargo build --release --bins
    python3 bindings/benchmark.py target/release/rust-worker bindings/python/sample/python-worker

The first worker is the one that the others are compared with. The rounds of the workers alternate, so that a machine
that slows down affects all of them. It prints JSON with the samples and medians of each worker:

    ready      seconds from the start of the program until it is healthy
    latency    milliseconds of a task of three steps, one task at a time, from the POST to the response
    noop       steps a second, in tasks of 50 parallel steps that do nothing, with 128 steps at once
    sleep      steps a second, in tasks of 52 parallel steps that sleep 10 ms, with `--slots` steps at once
    memory     resident megabytes of the program, after each tenth of the steps of `noop`

To see whether the memory is bounded: `--rounds 1 --steps 100000`. TASKER_BIN_DIR names the folder of `tasker-cli`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
#: How long anything may take, in seconds: far longer than it does.
LIMIT = 600
#: The steps of a task of the template `wide_noop`, and of the one below.
WIDE = 52
#: Many steps that sleep 10 ms.
SLEEP = {
    "name": "wide_sleep",
    "namespace_name": "faults",
    "version": "1.0.0",
    "steps": [
        {"name": f"sleep_{number}", "handler": {"callable": "faults.sleep", "initialization": {"ms": 10}}}
        for number in range(WIDE)
    ],
}


class Api:
    """Requests on one connection."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=LIMIT)

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request, and return the response. Raises ``RuntimeError`` if it is an error."""
        text = None if body is None else json.dumps(body)
        self._connection.request(method, path, text, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {content.decode(errors='replace')}")
        return json.loads(content)

    def create(self, namespace: str, name: str, *, wait: bool = False) -> Any:
        """Create a task, and wait for its end if asked."""
        task = self("POST", "/v1/tasks" + "?wait=60s" * wait, {"namespace": namespace, "name": name, "context": {}})
        if wait and task["status"] != "completed":
            raise RuntimeError(f"a task of {name} is {task['status']}")
        return task


def started(command: list[str], environment: dict[str, str], **options: Any) -> subprocess.Popen[str]:
    """Start a program that ends with this one."""
    return subprocess.Popen(command, env={**os.environ, **environment}, text=True, **options)


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """Run PostgreSQL and a server."""
    cli = Path(os.environ.get("TASKER_BIN_DIR") or ROOT / "target" / "release") / "tasker-cli"
    command = [str(cli), "dev", "--json", "--temporary", "--no-worker", "--port", "0"]
    process = started(command, {"DATABASE_URL": "", "RUST_LOG": "warn"}, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        text = ""
        for line in process.stdout:
            text += line
            if line.startswith("}"):
                break
        yield json.loads(text)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(LIMIT)


class Worker:
    """A sample worker that runs."""

    def __init__(self, program: str, database_url: str, slots: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._settings = tempfile.NamedTemporaryFile("w", suffix=".toml")  # noqa: SIM115 - `stop` removes it
        self._settings.write(f"[worker]\nmax_concurrent = {slots}\n")
        self._settings.flush()
        command = [program, "--config", self._settings.name, "--port", str(self.port)]
        begun = time.monotonic()
        self.process = started(command, {"DATABASE_URL": database_url, "RUST_LOG": "warn"})
        while not self._healthy():
            if self.process.poll() is not None or time.monotonic() > begun + LIMIT:
                raise RuntimeError(f"{program} did not start")
            time.sleep(0.005)
        self.ready = time.monotonic() - begun
        self._api = Api(f"http://127.0.0.1:{self.port}")

    def _healthy(self) -> bool:
        try:
            return bool(Api(f"http://127.0.0.1:{self.port}")("GET", "/health"))
        except (OSError, RuntimeError):
            return False

    @property
    def completed(self) -> int:
        """How many steps it has completed."""
        return int(self._api("GET", "/v1/worker/status")["completed_steps"])

    @property
    def memory(self) -> float:
        """The resident memory of the program in megabytes, or of the process that it has become."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) / 1024

    def stop(self) -> None:
        """Stop it gracefully."""
        self._settings.close()
        self.process.terminate()
        if self.process.wait(LIMIT) != 0:
            raise RuntimeError(f"a worker ended with {self.process.returncode}")


def throughput(url: str, worker: Worker, namespace: str, name: str, steps: int) -> float:
    """Return the steps a second from the first creation to the last completion."""
    tasks = max(1, steps // WIDE)
    wanted = worker.completed + tasks * WIDE
    apis = [Api(url) for _ in range(8)]
    begun = time.monotonic()
    with ThreadPoolExecutor(len(apis)) as pool:
        # Each thread has a connection.
        creations = [
            pool.submit(lambda api, count: [api.create(namespace, name) for _ in range(count)], api, tasks // 8 + extra)
            for number, api in enumerate(apis)
            for extra in [number < tasks % 8]
        ]
        for creation in creations:
            creation.result()
    while worker.completed < wanted:
        if time.monotonic() > begun + LIMIT:
            raise RuntimeError(f"{wanted - worker.completed} steps of {name} have not completed")
        time.sleep(0.01)
    return tasks * WIDE / (time.monotonic() - begun)


def measure(program: str, stack: dict[str, str], arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Measure a worker once: the samples of each figure."""
    url, database = stack["orchestration_url"], stack["database_url"]
    api = Api(url)
    worker = Worker(program, database, 128)
    found: dict[str, list[float]] = {"ready": [worker.ready], "noop": [], "memory": []}
    latencies = []
    try:
        api("POST", "/v1/templates", SLEEP)
        for _ in range(arguments.samples):
            begun = time.monotonic()
            api.create("benchmark", "sequential_noop", wait=True)
            latencies.append((time.monotonic() - begun) * 1e3)
        found["latency"] = [statistics.median(latencies)]
        for _ in range(10):
            found["noop"].append(throughput(url, worker, "benchmark", "wide_noop", arguments.steps // 10))
            found["memory"].append(worker.memory)
    finally:
        worker.stop()
    worker = Worker(program, database, arguments.slots)
    try:
        found["sleep"] = [throughput(url, worker, "faults", "wide_sleep", arguments.sleeps)]
    finally:
        worker.stop()
    return found


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="+", help="sample workers")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each worker")
    parser.add_argument("--samples", type=int, default=100, help="tasks of `latency` in a round")
    parser.add_argument("--steps", type=int, default=20_800, help="steps of `noop` in a round")
    parser.add_argument("--sleeps", type=int, default=5_200, help="steps of `sleep` in a round")
    parser.add_argument("--slots", type=int, default=128, help="how many steps that sleep run at once")
    arguments = parser.parse_args()
    names = [Path(program).name for program in arguments.programs]
    samples: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    with server() as stack:
        for number in range(arguments.rounds):
            turns = list(zip(names, arguments.programs, strict=True))
            for name, program in turns if number % 2 == 0 else reversed(turns):
                measured = measure(program, stack, arguments)
                for key, values in measured.items():
                    samples[name].setdefault(key, []).extend(round(value, 3) for value in values)
                shown = {key: round(statistics.median(values), 3) for key, values in measured.items()}
                print(f"round {number + 1}: {name}: {shown}", file=sys.stderr)
    medians = {name: {key: statistics.median(values) for key, values in of.items()} for name, of in samples.items()}
    first = medians[names[0]]
    ratios = {
        name: {key: round(value / first[key], 3) for key, value in of.items()}
        for name, of in medians.items()
        if name != names[0]
    }
    print(json.dumps({"samples": samples, "medians": medians, "ratios": ratios}, indent=2))


if __name__ == "__main__":
    main()
