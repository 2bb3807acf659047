"""Summarizes JUnit reports: how many tests ran, which failed and why, which were slow.

    python3 ci/junit.py target/nextest/unit/junit.xml
"""

from __future__ import annotations

import argparse
import math
import xml.etree.ElementTree as xml
from dataclasses import dataclass

import report
from report import Problem

SLOWEST = 5
LINES = 40
FAILED = ["failure", "error"]


@dataclass
class Test:
    name: str
    seconds: float
    # failed, skipped, passed, or flaky: it passed only after a retry
    result: str
    output: str = ""


def parse(text: str, source: str) -> list[Test]:
    try:
        root = xml.fromstring(text)
        for suite in root.iter():
            _count(suite)
        return [
            _test(suite.get("name", ""), case) for suite in root.iter("testsuite") for case in suite.findall("testcase")
        ]
    except (xml.ParseError, ValueError) as error:
        raise Problem(f"{source}: is not a JUnit report: {error}") from error


def _count(suite: xml.Element) -> None:
    """Rejects a suite that counts more failures than it contains."""
    said = sum(int(suite.get(kind) or 0) for kind in ("failures", "errors"))
    if not said:
        return
    shown = sum(any(case.find(tag) is not None for tag in FAILED) for case in suite.iter("testcase"))
    if said > shown:
        raise ValueError(f"{suite.tag} {suite.get('name', '')!r} counts {said} failures and contains {shown}")


def _test(suite: str, case: xml.Element) -> Test:
    result, output = "passed", ""
    for kind, tags in [
        ("skipped", ["skipped"]),
        ("flaky", ["flakyFailure", "flakyError"]),
        ("failed", FAILED),
    ]:
        for tag in tags:
            if (found := case.find(tag)) is not None:
                said = [found.get("message"), found.text, case.findtext("system-err"), case.findtext("system-out")]
                result, output = kind, essence([text.strip() for text in said if text and text.strip()])
    name, seconds = f"{suite}: {case.get('name', '')}", float(case.get("time") or 0)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{name}: implausible time of {seconds} seconds")
    return Test(name, seconds, result, output)


def essence(said: list[str]) -> str:
    """The relevant output of a failed test: from the panic to its backtrace, else the end of the output."""
    # The longest first, because another can be just its first line.
    for text in sorted(said, key=len, reverse=True):
        lines = text.splitlines()
        begin = next((number for number, line in enumerate(lines) if " panicked at " in line), None)
        if begin is not None:
            end = next((n for n in range(begin, len(lines)) if lines[n].startswith("stack backtrace:")), len(lines))
            return "\n".join(lines[begin:end][:LINES])
    return "\n".join("\n".join(said).splitlines()[-LINES:])


def summary(tests: list[Test]) -> str:
    counts = [(name, sum(test.result == name for test in tests)) for name in ("passed", "failed", "flaky", "skipped")]
    text = report.table(
        ("tests", *(name for name, _ in counts), "seconds in tests"),
        [(len(tests), *(count for _, count in counts), f"{sum(test.seconds for test in tests):.1f}")],
    )
    for test in tests:
        if test.result in ("failed", "flaky"):
            text += f"\n**{report.one_line(test.name)}** {test.result}\n\n{report.block(test.output.splitlines())}"
    slow = sorted(tests, key=lambda test: test.seconds, reverse=True)[:SLOWEST]
    return text + "\n" + report.table(("slowest", "seconds"), [(test.name, f"{test.seconds:.2f}") for test in slow])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", metavar="FILE")
    arguments = parser.parse_args()
    tests = [test for path in arguments.reports for test in parse(report.read(path), path)]
    if not tests:
        raise Problem(f"{', '.join(arguments.reports)}: no test ran")
    report.show(summary(tests))
    return 1 if any(test.result == "failed" for test in tests) else 0


if __name__ == "__main__":
    report.run(main)
