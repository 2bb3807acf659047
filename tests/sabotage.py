"""Sabotages the stack of scripts/integration: each row of ROWS says whom, with which signal, and when.

    python3 tests/sabotage.py [ROW...]

Linux only. The stack is real: process-compose, PostgreSQL, tasker-server, rust-worker. Only the suite is a stand-in,
which ends when the row says so. Every row must end in time with its exit code, must name the culprit in its last line,
and must leave no process, port, shared memory or database behind. TASKER_BIN_DIR is the folder of the binaries, which
are built without it. TASKER_SABOTAGE_SLACK multiplies the time limits, for a machine with other work to do.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import typing

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVICES = ["postgres", "orchestration", "worker", "tests"]

# Seconds.
HEALTHY_WITHIN = 5
GONE_WITHIN = 5
KILLED_WITHIN = 15
SLACK = float(os.environ.get("TASKER_SABOTAGE_SLACK", 1))
# A row that waits longer than this counts as hung. Longer than the limits above, so that a slow row shows its time.
PATIENCE = 40 * SLACK

# Rows that run at a time.
PARALLEL = os.cpu_count() or 2

# Stands in for nextest: says where the stack is, then waits for its exit code.
SUITE = """#!/bin/sh
echo "the suite runs"
env >"$SABOTAGE/suite.new"
mv "$SABOTAGE/suite.new" "$SABOTAGE/suite"
while [ ! -s "$SABOTAGE/end" ]; do sleep 0.05; done
read -r code <"$SABOTAGE/end"
exit "$code"
"""


class Row(typing.NamedTuple):
    """One act of sabotage and what must come of it."""

    name: str
    # The target and the signal, in this order; a target is one process, or `all:postgres` with its children.
    acts: list = []
    # With which code the suite ends after the acts; None if it never ends by itself.
    suite: int | None = None
    # The exit code of scripts/integration, and the process that its last line names.
    code: int = 0
    culprit: str | None = None
    # Seconds from the last act until nothing is left.
    within: int = GONE_WITHIN
    # The acts come as soon as this process runs.
    when: str = "suite"
    environment: dict = {}
    # What the last line contains.
    says: str = ""
    # Only a script that is killed cannot remove the database.
    keeps_database: bool = False


def has_pgvector():
    """Whether PostgreSQL can create the extension `vector`."""
    folder = os.environ.get("TASKER_PG_BIN") or str(pathlib.Path(shutil.which("postgres") or "/").resolve().parent)
    config = shutil.which("pg_config", path=folder)
    if not config:
        return False
    share = subprocess.run([config, "--sharedir"], capture_output=True, text=True, check=True).stdout.strip()
    return pathlib.Path(share, "extension/vector.control").exists()


STOP, KILL, TERM, INT, HUP = signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP
REDIS = {"TASKER_STACK_SERVICES": "redis"}

ROWS = [
    Row("suite_passes", suite=0),
    Row("suite_fails", suite=100, code=100, culprit="tests"),
    Row("odd_password", suite=0, environment={"TASKER_PG_PASSWORD": "a@b/c:d#e'f\"g %h&i=j ?k: #l $m \\n%%"}),
    # The script.
    Row("script_int", [("script", INT)], code=130, culprit="process-compose"),
    Row("script_term", [("script", TERM)], code=143, culprit="process-compose"),
    Row("script_hup", [("script", HUP)], code=129, culprit="process-compose"),
    Row("script_int_at_start", [("script", INT)], code=130, culprit="process-compose", when="postgres-init"),
    Row("script_killed", [("script", KILL)], code=-KILL, keeps_database=True),
    # process-compose.
    Row("compose_term", [("process-compose", TERM)], code=1, culprit="tests"),
    Row("compose_int", [("process-compose", INT)], code=1, culprit="tests"),
    Row("compose_killed", [("process-compose", KILL)], code=1, culprit="process-compose"),
    Row("compose_suspended", [("process-compose", STOP)], 0, 137, "postgres", KILLED_WITHIN),
    # Services.
    Row("server_killed", [("orchestration", KILL)], code=1, culprit="orchestration"),
    Row("server_ends_early", [("orchestration", TERM)], code=1, culprit="orchestration"),
    Row("server_suspended", [("orchestration", STOP)], 0, 137, "orchestration", KILLED_WITHIN),
    Row("worker_killed", [("worker", KILL)], code=1, culprit="worker"),
    Row("worker_ends_early", [("worker", TERM)], code=1, culprit="worker"),
    Row("worker_suspended", [("worker", STOP)], 0, 137, "worker", KILLED_WITHIN),
    # PostgreSQL.
    Row("postmaster_killed", [("postgres", KILL)], code=1, culprit="postgres"),
    Row("postgres_killed", [("all:postgres", KILL)], code=1, culprit="postgres"),
    Row("postgres_suspended", [("all:postgres", STOP)], 0, 137, "postgres", KILLED_WITHIN),
    Row("postgres_suspended_int", [("all:postgres", STOP), ("script", INT)], None, 137, "postgres", KILLED_WITHIN),
    # Services by name. Without the extension, pgvector must fail by its name.
    Row("redis", suite=0, environment=REDIS),
    Row("redis_killed", [("redis", KILL)], code=1, culprit="redis", environment=REDIS),
    Row("redis_suspended", [("redis", STOP)], 0, 137, "redis", KILLED_WITHIN, environment=REDIS),
    # The suite waits 10 s for Redis, and a request 5 s.
    Row("redis_suspended_at_start", [("redis", STOP)], None, 137, "tests", 15 + KILLED_WITHIN, "redis", REDIS),
    Row("pgvector", suite=0, environment={"TASKER_STACK_SERVICES": "redis,pgvector"})
    if has_pgvector()
    else Row("no_pgvector", code=1, culprit="pgvector", when="end", environment={"TASKER_STACK_SERVICES": "pgvector"}),
    # The suite.
    Row("suite_killed", [("tests", KILL)], code=1, culprit="tests"),
    Row("suite_suspended_int", [("tests", STOP), ("script", INT)], None, 137, "tests", KILLED_WITHIN),
    # A second signal kills at once.
    Row(
        "suspended_int_twice",
        [("all:postgres", STOP), ("worker", STOP), ("script", INT), ("script", INT)],
        None,
        137,
        None,
        GONE_WITHIN,
    ),
    # What cannot start.
    Row("no_suite", code=1, when="end", environment={"PATH": None}, says="cargo-nextest is not on the PATH"),
    Row("wrong_postgres", code=1, when="end", culprit="postgres-init", environment={"TASKER_PG_BIN": "/no/such"}),
]


def processes():
    """Yields the id, parent, state and folder in /proc of every process."""
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        yield int(folder.name), int(parent), state, folder


def until(condition, what):
    """Waits for a true value of `condition` and returns it."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {PATIENCE} s")
        time.sleep(0.02)
    return value


class Run:
    """One row: a stack in a folder of its own."""

    def __init__(self, row, folder):
        self.row = row
        self.folder = pathlib.Path(folder)
        self.folder.chmod(0o755)
        self.segment = None
        self.ports = []
        self.stack_dir = None
        programs = self.folder / "programs"
        programs.mkdir()
        (programs / "cargo-nextest").write_text(SUITE)
        (programs / "cargo-nextest").chmod(0o755)
        (self.folder / "tmp").mkdir()
        (self.folder / "tmp").chmod(0o755)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TASKER_")}
        for key in ["TASKER_BIN_DIR", "TASKER_PG_BIN"]:
            if key in os.environ:
                environment[key] = os.environ[key]
        environment |= {
            "PATH": f"{programs}:{environment['PATH']}",
            "TMPDIR": str(self.folder / "tmp"),
            "SABOTAGE": str(self.folder),
        }
        for key, value in row.environment.items():
            # No PATH: one with everything but nextest.
            environment[key] = value if value is not None else self.path_without_nextest(programs)
        self.mark = f"SABOTAGE={self.folder}".encode()
        self.output = self.folder / "output"
        with open(self.output, "wb") as output:
            self.began = time.monotonic()
            self.script = subprocess.Popen(
                [ROOT / "scripts/integration"], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def path_without_nextest(self, programs):
        (programs / "cargo-nextest").unlink()
        for program in ["bash", "env", "dirname", "mktemp", "chmod", "mkdir", "process-compose"]:
            (programs / program).symlink_to(shutil.which(program))
        return str(programs)

    def alive(self):
        """The processes of this run, without zombies."""
        found = []
        for process, _, state, folder in processes():
            try:
                ours = self.mark in (folder / "environ").read_bytes().split(b"\0")
                # PostgreSQL's children have overwritten their environment.
                if not ours and self.stack_dir:
                    ours = os.readlink(folder / "cwd").startswith(str(self.stack_dir))
            except OSError:
                continue
            if ours and state not in "ZX":
                found.append(process)
        return found

    def find(self, target):
        """The ids of the processes that a row calls `target`."""
        if target == "script":
            return [self.script.pid]
        if target == "process-compose":
            return [self.child(self.script.pid, "process-compose")]
        if target.startswith("all:"):
            postmaster = self.find(target.removeprefix("all:"))[0]
            return [postmaster] + [process for process, parent, *_ in processes() if parent == postmaster]
        # stack-run has its program as its only child.
        compose = self.child(self.script.pid, "process-compose")
        for process, parent, _, folder in processes():
            if parent == compose and f"stack-run\0{target}\0".encode() in (folder / "cmdline").read_bytes():
                return [self.child(process, None)]
        raise AssertionError(f"there is no process {target}")

    def child(self, of, name):
        def search():
            for process, parent, _, folder in processes():
                if parent == of and (name is None or (folder / "comm").read_text().strip() == name):
                    return process
            return None

        return until(search, f"the child {name} of process {of}")

    def wait_for_start(self):
        if self.row.when == "end":
            return
        (self.stack_dir,) = until(lambda: list((self.folder / "tmp").glob("tasker-stack.*")), "the stack's folder")
        if self.row.when != "suite":
            records = self.stack_dir / "processes"
            started = f"{self.row.when} started"
            until(lambda: records.exists() and started in records.read_text(), started)
            return
        until((self.folder / "suite").exists, "a healthy stack")
        self.healthy_after = time.monotonic() - self.began
        variables = dict(line.split("=", 1) for line in (self.folder / "suite").read_text().splitlines() if "=" in line)
        self.ports = [
            int(variables[f"TASKER_{name}_PORT"]) for name in ["PG", "ORCHESTRATION", "WORKER", "REDIS"]
        ]
        lock = (self.stack_dir / "postgres/main/postmaster.pid").read_text().splitlines()
        self.segment = int(lock[6].split()[1])
        maps = pathlib.Path(f"/proc/{lock[0]}/maps").read_text()
        assert "/dev/shm/" not in maps, "PostgreSQL uses shared memory that outlives it"

    def sabotage(self):
        # Found before any of them is touched.
        targets = [(self.find(target), number) for target, number in self.row.acts]
        for found, number in targets:
            for process in found:
                os.kill(process, number)
            # Two equal signals at the same time would be one.
            time.sleep(0.3 if len(self.row.acts) > 2 else 0)
        if self.row.suite is not None:
            (self.folder / "end").write_text(f"{self.row.suite}\n")

    def judge(self):
        row = self.row
        acted = time.monotonic()
        until(lambda: self.script.poll() is not None, "the end of the script")
        until(lambda: not self.alive(), f"the end of {self.alive()}")
        took = time.monotonic() - acted
        text = self.output.read_text(errors="replace")
        last = text.strip().splitlines()[-1] if text.strip() else ""
        problems = []

        def expect(true, problem):
            if not true:
                problems.append(problem)

        expect(self.script.returncode == row.code, f"exit code {self.script.returncode}, not {row.code}")
        if row.when == "suite":
            expect(self.healthy_after <= HEALTHY_WITHIN * SLACK, f"healthy only after {self.healthy_after:.1f} s")
        if row.when != "end":
            expect(took <= row.within * SLACK, f"gone only after {took:.1f} s")
        if row.culprit:
            named = re.search(rf"See .*/logs/{row.culprit}\.log$", last)
            expect(named, f"the last line does not name {row.culprit}: {last}")
        expect(row.says in last, f"the last line does not say {row.says!r}: {last}")
        for port in self.ports:
            with socket.socket() as probe:
                expect(probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} is still open")
        segments = [line.split()[1] for line in pathlib.Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
        expect(str(self.segment) not in segments, f"shared memory segment {self.segment} is left")
        left = list((self.folder / "tmp").rglob("*"))
        if row.code == 0:
            expect(not left, f"left: {left}")
        elif not row.keeps_database:
            expect(not [path for path in left if path.name == "postgres"], "the database is left")
        if problems:
            raise AssertionError("; ".join(problems) + "\n" + "\n".join(text.splitlines()[-25:]))
        return f"{f'healthy after {self.healthy_after:.1f} s, ' if self.ports else ''}gone after {took:.1f} s"

    def clean_up(self):
        for process in self.alive():
            try:
                os.kill(process, KILL)
            except ProcessLookupError:
                pass
        self.script.wait()


def run(row):
    """Runs one row and returns a line about it."""
    with tempfile.TemporaryDirectory(prefix="tasker-sabotage.") as folder:
        stack = Run(row, folder)
        try:
            stack.wait_for_start()
            stack.sabotage()
            return stack.judge()
        finally:
            stack.clean_up()


def main(names):
    rows = [row for row in ROWS if not names or row.name in names]
    if unknown := set(names) - {row.name for row in ROWS}:
        sys.exit(f"there is no row {' '.join(unknown)}: the rows are {' '.join(row.name for row in ROWS)}")
    if "TASKER_BIN_DIR" not in os.environ:
        subprocess.run(["cargo", "build", "--quiet", "--workspace", "--bins"], cwd=ROOT, check=True)
        os.environ["TASKER_BIN_DIR"] = str(ROOT / "target/debug")
    # A shell cannot handle a signal that its parent ignores.
    signal.signal(HUP, signal.SIG_DFL)
    signal.signal(INT, signal.default_int_handler)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        results = {pool.submit(run, row): row for row in rows}
        for result in concurrent.futures.as_completed(results):
            problem = result.exception()
            failed += problem is not None
            print(f"{'FAIL' if problem else 'ok'} {results[result].name}: {problem or result.result()}", flush=True)
    print(f"{len(rows) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main(sys.argv[1:])
