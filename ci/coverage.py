"""Measures the coverage of the tests, and fails if a crate is below its threshold in ci/coverage.toml.

    python3 ci/coverage.py                       runs all tests; writes target/coverage/{html,lcov.info,coverage.json}
    python3 ci/coverage.py --report FILE.json    checks a report of `cargo llvm-cov --json`, and runs nothing

It needs cargo-llvm-cov, cargo-nextest, and the toolchain's component llvm-tools.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import report
from report import Problem

ROOT = Path(__file__).parent.parent
THRESHOLDS = Path(__file__).with_name("coverage.toml")
FOLDER = ROOT / "target" / "coverage"
# Instrumented crates must not mix with others: cargo does not see the difference.
TARGET = ROOT / "target" / "llvm-cov-target"


@dataclass
class Lines:
    covered: int = 0
    total: int = 0

    @property
    def percent(self) -> float:
        return 100 * self.covered / self.total if self.total else 100.0


@dataclass
class Verdict:
    crate: str
    lines: Lines
    least: float | None

    @property
    def good(self) -> bool:
        return self.least is not None and self.lines.percent >= self.least


def parse_thresholds(text: str, source: str) -> dict[str, float]:
    data = report.parse_toml(text, source)
    least = data.get("lines")
    if set(data) != {"lines"} or not isinstance(least, dict):
        raise Problem(f"{source}: expected one table, [lines]")
    for crate, percent in least.items():
        if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
            raise Problem(f"{source}: {crate}: {percent!r} is not a percentage from 0 to 100")
    return least


def parse_report(text: str, source: str) -> dict[str, Lines]:
    """The lines of each crate, from the JSON of `cargo llvm-cov`."""
    crates: dict[str, Lines] = {}
    try:
        for file in report.parse_json(text, source)["data"][0]["files"]:
            if found := re.search(r"(?:^|/)crates/([^/]+)/", file["filename"].removeprefix(str(ROOT))):
                lines = crates.setdefault(found[1], Lines())
                covered, total = file["summary"]["lines"]["covered"], file["summary"]["lines"]["count"]
                if type(covered) is not int or type(total) is not int or not 0 <= covered <= total <= sys.maxsize:
                    raise Problem(f"{source}: {file['filename']}: {covered!r} of {total!r} lines are covered?")
                lines.covered += covered
                lines.total += total
    except (LookupError, TypeError, AttributeError) as error:
        raise Problem(f"{source}: is not a report of `cargo llvm-cov --json`: {error!r}") from error
    if not crates:
        raise Problem(f"{source}: has no file of a crate in crates/")
    return crates


def judge(crates: dict[str, Lines], thresholds: dict[str, float], source: str) -> list[Verdict]:
    if missing := sorted(set(thresholds) - set(crates)):
        raise Problem(
            f"{source}: {', '.join(missing)}: listed here, but not in the coverage report: does crates/ still have it?"
        )
    return [Verdict(crate, lines, thresholds.get(crate)) for crate, lines in sorted(crates.items())]


def measure(target: Path) -> Path:
    """Runs the tests and writes the reports. Returns the JSON report."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    result = FOLDER / "coverage.json"
    variables = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    variables |= parse_variables(run(["cargo", "llvm-cov", "show-env"], variables, stdout=subprocess.PIPE))
    for command in [
        ["cargo", "llvm-cov", "clean", "--workspace"],
        # The tests start programs of other crates, and cargo builds only those of the crate under test.
        ["cargo", "build", "--workspace", "--locked", "--bins"],
        ["cargo", "nextest", "run", "--workspace", "--locked", "--profile", "ci"],
        ["cargo", "llvm-cov", "report", "--json", "--output-path", str(result)],
        ["cargo", "llvm-cov", "report", "--lcov", "--output-path", str(FOLDER / "lcov.info")],
        ["cargo", "llvm-cov", "report", "--html", "--output-dir", str(FOLDER)],
    ]:
        run(command, variables)
    return result


def run(command: list[str], variables: dict[str, str], stdout: int | None = None) -> str:
    done = report.command(command, cwd=ROOT, env=variables, stdout=stdout, stderr=None)
    if done.returncode != 0:
        raise Problem(f"`{' '.join(command)}` failed with exit code {done.returncode}: see above")
    return done.stdout or ""


def parse_variables(text: str) -> dict[str, str]:
    """The environment in which cargo builds with instrumentation: assignments, quoted as for a shell."""
    return dict(word.split("=", 1) for word in shlex.split(text))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", metavar="FILE", help="check this report, and run nothing")
    parser.add_argument(
        "--target-dir",
        metavar="FOLDER",
        type=Path,
        default=TARGET,
        help="where cargo builds; removes the workspace's crates there first (default: target/llvm-cov-target)",
    )
    parser.add_argument("--thresholds", metavar="FILE", default=str(THRESHOLDS), help="default: ci/coverage.toml")
    arguments = parser.parse_args()

    thresholds = parse_thresholds(report.read(arguments.thresholds), arguments.thresholds)
    path = arguments.report or str(measure(arguments.target_dir.absolute()))
    verdicts = judge(parse_report(report.read(path), path), thresholds, arguments.thresholds)
    rows = [
        (
            "" if v.good else "✗",
            v.crate,
            f"{v.lines.percent:.1f} %",
            "not listed" if v.least is None else f"{v.least:g} %",
            f"{v.lines.covered} of {v.lines.total}",
        )
        for v in verdicts
    ]
    report.show(report.table(("", "crate", "lines covered", "at least", "lines"), rows))
    bad = [verdict.crate for verdict in verdicts if not verdict.good]
    report.show(
        f"Below the threshold in {arguments.thresholds}, or not listed there: {', '.join(bad)}."
        if bad
        else "Every crate reaches its threshold."
    )
    return 1 if bad else 0


if __name__ == "__main__":
    report.run(main)
