"""Builds and tests a scratch copy with the newest dependencies and a newer toolchain, and reports what broke.

    python3 ci/bleeding_edge.py cargo --toolchain nightly     the newest crates that Cargo.toml allows, Rust nightly
    python3 ci/bleeding_edge.py nix                           the newest inputs of the flake

The copy is a clone of HEAD. This tree and its lock files do not change. A failed stage does not end the run, except the
update, because without it the other stages prove nothing. The logs are in target/bleeding-edge/logs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import report
from report import Problem

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "target" / "bleeding-edge"
LINES = 40


@dataclass
class Stage:
    name: str
    command: list[str]


@dataclass
class Outcome:
    stage: Stage
    # passed, failed or not run
    result: str
    seconds: float = 0
    log: str = ""


def stages(what: str, toolchain: str) -> list[Stage]:
    """The update, and then the checks that must still pass."""
    if what == "nix":
        return [
            Stage("update", ["nix", "flake", "update"]),
            Stage("checks", ["nix", "flake", "check", "--print-build-logs", "--keep-going"]),
            Stage("integration", ["nix", "run", ".#integration"]),
        ]
    cargo = ["cargo", f"+{toolchain}"]
    return [
        Stage("update", [*cargo, "update", "--verbose"]),
        Stage("build", [*cargo, "build", "--workspace", "--all-targets"]),
        Stage("clippy", [*cargo, "clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]),
        Stage("tests", [*cargo, "nextest", "run", "--workspace", "--no-fail-fast"]),
        Stage("doctests", [*cargo, "test", "--workspace", "--doc"]),
    ]


def run(listed: list[Stage], tree: Path, logs: Path) -> list[Outcome]:
    """Runs every stage in the tree. Each has its own log."""
    outcomes: list[Outcome] = []
    variables = {"CARGO_TARGET_DIR": str(FOLDER / "target"), **os.environ, "RUST_BACKTRACE": "1"}
    for stage in listed:
        if outcomes and outcomes[0].result == "failed":
            outcomes.append(Outcome(stage, "not run"))
            continue
        print(f"{stage.name}: {' '.join(stage.command)}", flush=True)
        started = time.monotonic()
        path = logs / f"{stage.name}.log"
        with path.open("w", encoding="utf-8") as log:
            code = report.command(
                stage.command, cwd=tree, env=variables, stdout=log, stderr=subprocess.STDOUT
            ).returncode
        result = "passed" if code == 0 else "failed"
        outcomes.append(
            Outcome(stage, result, time.monotonic() - started, path.read_text(encoding="utf-8", errors="replace"))
        )
    return outcomes


def text(what: str, outcomes: list[Outcome]) -> str:
    """The report. Its first line is the title of an issue."""
    broken = [outcome for outcome in outcomes if outcome.result == "failed"]
    title = f"Bleeding edge ({what}): {', '.join(o.stage.name for o in broken) + ' broken' if broken else 'all passed'}"
    rows = [(o.stage.name, o.result, f"{o.seconds:.0f} s", "`" + " ".join(o.stage.command) + "`") for o in outcomes]
    parts = [title, "", report.table(("stage", "result", "time", "command"), rows)]
    updated = [line for line in outcomes[0].log.splitlines() if " -> " in line or "Updated input" in line]
    if updated:
        parts += ["What the update changed:", "", report.block(line.strip() for line in updated)]
    for outcome in broken:
        parts += [
            f"The end of the log of {outcome.stage.name}:",
            "",
            report.block(outcome.log.splitlines()[-LINES:]),
        ]
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cargo", "nix"])
    parser.add_argument("--toolchain", default="nightly", help="rustup's toolchain, for cargo (default: nightly)")
    parser.add_argument(
        "--only", action="append", metavar="STAGE", help="run only the update and this stage; can be repeated"
    )
    parser.add_argument("--issue", metavar="FILE", help="write the report as the text of an issue")
    arguments = parser.parse_args()

    listed = stages(arguments.what, arguments.toolchain)
    if arguments.only:
        if unknown := set(arguments.only) - {stage.name for stage in listed}:
            known = ", ".join(stage.name for stage in listed)
            raise Problem(f"--only {' '.join(sorted(unknown))}: no such stage; there are {known}")
        listed = [stage for stage in listed if stage.name in {"update", *arguments.only}]

    logs = FOLDER / "logs" / arguments.what
    logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tasker-bleeding-edge-") as folder:
        tree = Path(folder, "tree")
        cloned = report.command(["git", "clone", "--quiet", "--shared", str(ROOT), str(tree)])
        if cloned.returncode != 0:
            raise Problem(f"cannot clone {ROOT}: {cloned.stderr.strip()}")
        outcomes = run(listed, tree, logs)

    written = text(arguments.what, outcomes)
    report.show(written)
    if arguments.issue:
        report.write(arguments.issue, written)
    return 1 if any(outcome.result == "failed" for outcome in outcomes) else 0


if __name__ == "__main__":
    report.run(main)
