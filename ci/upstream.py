"""Compares the versions in upstream-versions.json with the newest releases in the package registries.

    python3 ci/upstream.py                                      prints how far behind each pin is
    python3 ci/upstream.py --only rust --fail-on error          fails if a Rust pin is 2 or more minor versions behind
    python3 ci/upstream.py --json lag.json --issue issue.md     also writes JSON and the text of an issue

Grades: info (up to date, newer, or 1 patch behind), notice (2 or more patches), warning (1 minor version), error (2 or
more minor versions), critical (a major version). A registry that does not respond, an unknown package and a malformed
version are problems. They are reported, and they fail the check only with --fail-on-problems.

It asks the registries' own clients: cargo info, gem list, pip index, npm view. The form of the file:

    {"rust": {"axum": "0.8.9"}, "ruby": {}, ...}
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import report
from report import Problem

PINS = Path(__file__).parent.parent / "upstream-versions.json"
GRADES = ["info", "notice", "warning", "error", "critical"]
SECONDS = 60
# How many major versions a release can be behind its pre-releases.
MAJORS = 5


class Failure(Exception):
    """A problem with one package."""


@dataclass
class Answer:
    """The output of a client."""

    code: int
    out: str
    err: str


@dataclass
class Lag:
    """How far one pin is behind. If `problem` is set, `grade` is None."""

    ecosystem: str
    package: str
    pinned: str
    latest: str | None = None
    grade: str | None = None
    problem: str | None = None


def parse(version: str) -> tuple[int, int, int, int, bool, str]:
    """Parses a version into a tuple that sorts like versions: major, minor, patch, a fourth number as gem allows it,
    whether it is a release, and the name of the pre-release."""
    # 1.0.0-rc.1 in cargo and npm, 1.0.0.rc1 in gem, 1.0.0rc1 in pip.
    number = r"([0-9]{1,18})"
    pre_release = r"(?:-([0-9A-Za-z.-]+)|\.?([a-z]+\.?\d[0-9a-z.]*))"
    found = re.fullmatch(
        rf"[v=]?{number}(?:\.{number})?(?:\.{number})?(?:\.{number})?{pre_release}?(?:\+[0-9A-Za-z.-]+)?", version
    )
    if not found:
        raise Failure(f"malformed version {version!r}; expected for example 1.2.3")
    major, minor, patch, fourth = (int(part or 0) for part in found.groups()[:4])
    name = found[5] or found[6] or ""
    return major, minor, patch, fourth, not name, name


def grade(pinned: str, latest: str) -> str:
    """Grades a pin by the first number that differs."""
    ours, newest = parse(pinned), parse(latest)
    if ours >= newest:
        return "info"
    if newest[0] > ours[0]:
        return "critical"
    if newest[1] > ours[1]:
        return "warning" if newest[1] - ours[1] == 1 else "error"
    return "info" if newest[2] - ours[2] <= 1 else "notice"


def ask(command: list[str], folder: str) -> Answer:
    """Runs a client in an empty folder, so that no project file affects the result."""
    try:
        done = report.command(command, cwd=folder, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except Problem as problem:
        raise Failure(f"{problem}: install it, or exclude its ecosystem with --only") from problem
    except subprocess.TimeoutExpired as error:
        raise Failure(f"registry unreachable: {' '.join(command)} took more than {SECONDS} s") from error
    return Answer(done.returncode, done.stdout, done.stderr)


def unanswered(answer: Answer) -> Failure:
    """Returns the client's error: its first line that is not just a remark."""
    lines = [line.strip() for line in answer.err.splitlines() if line.strip()]
    lines = [line for line in lines if "experimental command" not in line and not line.startswith("npm warn")] or lines
    return Failure(f"registry unreachable: {lines[0][:200] if lines else f'no output (exit code {answer.code})'}")


UNKNOWN = "unknown package: the registry does not have it"

Ask = Callable[[list[str]], Answer]


def cargo(package: str, asking: Ask) -> str:
    newest = _cargo(package, asking)
    if newest is None:
        raise Failure(UNKNOWN)
    # The newest version can be a pre-release. For a single major version, cargo names the newest release.
    major, *_, released, _ = parse(newest)
    for older in range(major, max(major - MAJORS, -1), -1) if not released else ():
        if (found := _cargo(f"{package}@{older}", asking)) and parse(found)[4]:
            return found
    return newest


def _cargo(package: str, asking: Ask) -> str | None:
    answer = asking(["cargo", "info", "--quiet", "--color", "never", package])
    found = re.search(r"^version: (\S+)(?: \(latest (\S+?)[ )])?", answer.out, re.MULTILINE)
    if found:
        return found[1] if "@" in package else found[2] or found[1]
    if "could not find" in answer.err:
        return None
    raise unanswered(answer)


def npm(package: str, asking: Ask) -> str:
    answer = asking(["npm", "view", package, "dist-tags.latest", "--json", "--fetch-retries=0"])
    try:
        said = report.parse_json(answer.out, "npm")
    except Problem:
        said = None
    if isinstance(said, str):
        return said
    raise Failure(UNKNOWN) if "E404" in answer.out + answer.err else unanswered(answer)


def pip(package: str, asking: Ask) -> str:
    answer = asking(["pip", "--disable-pip-version-check", "--retries", "1", "index", "versions", package])
    if found := re.search(r"^\S+ \((\S+)\)", answer.out, re.MULTILINE):
        return found[1]
    # pip prints "No matching distribution" in both cases, but it retries only a broken connection.
    known_missing = "No matching distribution" in answer.err and "Retrying" not in answer.err
    raise Failure(UNKNOWN) if known_missing else unanswered(answer)


def gem(package: str, asking: Ask) -> str:
    if version := _gem(package, asking):
        return version
    # gem prints an empty list in both cases. If even the client's own package is missing, the registry did not respond.
    raise Failure(
        UNKNOWN
        if _gem("rubygems-update", asking)
        else "registry unreachable: gem lists nothing, not even rubygems-update"
    )


def _gem(package: str, asking: Ask) -> str | None:
    answer = asking(["gem", "list", "--remote", "--exact", package])
    found = re.search(rf"^{re.escape(package)} \(([^\s,)]+)", answer.out, re.MULTILINE)
    if not found and answer.code != 0:
        raise unanswered(answer)
    return found[1] if found else None


CLIENTS: dict[str, Callable[[str, Ask], str]] = {"rust": cargo, "ruby": gem, "python": pip, "typescript": npm}
NAME = re.compile(r"@?[A-Za-z0-9][A-Za-z0-9._/-]*")


def load(text: str, source: str) -> list[Lag]:
    """Reads the pins of a file."""
    data = report.parse_json(text, source)
    if not isinstance(data, dict):
        raise Problem(f"{source}: expected an object of ecosystems")
    lags = []
    for ecosystem, packages in data.items():
        if ecosystem not in CLIENTS:
            raise Problem(f"{source}: unknown ecosystem {ecosystem!r}; known are {', '.join(CLIENTS)}")
        if not isinstance(packages, dict):
            raise Problem(f"{source}: {ecosystem}: expected an object of packages and versions")
        for package, version in packages.items():
            # The name becomes an argument of a command.
            if not NAME.fullmatch(package):
                raise Problem(f"{source}: {ecosystem}: {package!r} is not the name of a package")
            lags.append(Lag(ecosystem, package, str(version)))
    return lags


def compare(lag: Lag, asking: Ask) -> Lag:
    """Sets the grade or the problem of a pin."""
    try:
        parse(lag.pinned)
        lag.latest = CLIENTS[lag.ecosystem](lag.package, asking)
        lag.grade = grade(lag.pinned, lag.latest)
    except Failure as failure:
        lag.problem = str(failure)
    return lag


def rows(lags: list[Lag]) -> str:
    """Formats the table. The worst pins come first."""
    worst = sorted(lags, key=lambda lag: GRADES.index(lag.grade) if lag.grade else len(GRADES), reverse=True)
    cells = [
        (lag.grade or "problem", lag.ecosystem, lag.package, lag.pinned, lag.latest or lag.problem or "")
        for lag in worst
    ]
    return report.table(("grade", "ecosystem", "package", "pinned", "latest"), cells)


def issue(lags: list[Lag]) -> str:
    """The text of an issue. Its first line is the title."""
    behind = [lag for lag in lags if lag.problem or lag.grade not in (None, "info")]
    counts = [f"{count} {name}" for name in reversed(GRADES[1:]) if (count := sum(lag.grade == name for lag in lags))]
    if problems := sum(bool(lag.problem) for lag in lags):
        counts.append(f"{problems} unknown")
    if not behind:
        return "Upstream versions: all up to date\n\nNothing to do.\n"
    return (
        f"Upstream versions: {', '.join(counts)}\n\n{rows(behind)}\n"
        "To catch up, raise the version where it is used (Cargo.toml, then `cargo update`), run the tests, and write\n"
        "the new version into upstream-versions.json. To see this table again: `python3 ci/upstream.py`.\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pins", metavar="FILE", default=str(PINS), help="the pins (default: upstream-versions.json)")
    parser.add_argument(
        "--only", action="append", choices=list(CLIENTS), help="check only this ecosystem; can be repeated"
    )
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON")
    parser.add_argument(
        "--issue", metavar="FILE", help="write the text of an issue: a title, an empty line, and Markdown"
    )
    parser.add_argument(
        "--fail-on",
        metavar="GRADE",
        choices=GRADES[1:],
        help=f"exit with 1 if a pin has this grade or worse: {', '.join(GRADES[1:])}",
    )
    parser.add_argument("--fail-on-problems", action="store_true", help="exit with 1 if a pin could not be compared")
    arguments = parser.parse_args()

    pins = [
        lag for lag in load(report.read(arguments.pins), arguments.pins) if lag.ecosystem in (arguments.only or CLIENTS)
    ]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(4) as pool:
        lags = list(pool.map(lambda lag: compare(lag, lambda command: ask(command, folder)), pins))

    report.show(rows(lags))
    if arguments.json:
        report.write(arguments.json, json.dumps([asdict(lag) for lag in lags], indent=2) + "\n")
    if arguments.issue:
        report.write(arguments.issue, issue(lags))
    limit = GRADES.index(arguments.fail_on) if arguments.fail_on else len(GRADES)
    too_old = any(lag.grade and GRADES.index(lag.grade) >= limit for lag in lags)
    unknown = arguments.fail_on_problems and any(lag.problem for lag in lags)
    return 1 if too_old or unknown else 0


if __name__ == "__main__":
    report.run(main)
