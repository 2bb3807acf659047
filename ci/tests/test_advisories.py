"""Advisories are reported, an unreachable database is an error, and nothing is ignored silently."""

import json
import os
import tempfile
import unittest
from pathlib import Path
from typing import Any

import advisories
from advisories import parse
from report import Problem
from tests.program import run, stub


# The output of cargo-deny 0.20, shortened.
def diagnostic(code: str | None, message: str, severity: str = "error", **more: Any) -> dict[str, Any]:
    named = {} if code is None else {"code": code}
    fields = {**named, "message": message, "severity": severity, "labels": [], **more}
    return {"type": "diagnostic", "fields": fields}


def known(id: str, crate: str, code: str, solution: str) -> dict[str, Any]:
    return diagnostic(
        code,
        f"{crate} is | bad",
        advisory={"id": id, "package": crate},
        graphs=[{"Krate": {"name": crate, "version": "1.0.0"}, "parents": []}],
        notes=[f"ID: {id}", "A description\nof two lines", f"Solution: {solution}"],
    )


def log(message: str) -> dict[str, Any]:
    return {"type": "log", "fields": {"level": "ERROR", "message": message, "timestamp": "2026-01-01T00:00:00Z"}}


def summary(errors: int) -> dict[str, Any]:
    counts = {"errors": errors, "helps": 0, "notes": 0, "warnings": 0}
    return {"type": "summary", "fields": {"advisories": counts}}


VULNERABLE = known("RUSTSEC-2026-0001", "tokio", "vulnerability", "Upgrade to >=2 (try `cargo update -p tokio`)")
OLD = known("RUSTSEC-2026-0002", "axum", "unmaintained", "No safe upgrade is available!")
GRAPH = [{"Krate": {"name": "serde", "version": "1.0.0"}}]
YANKED = diagnostic("yanked", "detected yanked crate (try `cargo update -p serde`)", graphs=GRAPH)
REMARK = diagnostic("yanked", "detected yanked crate (try `cargo update -p serde`)", "warning", graphs=GRAPH)
STALE = diagnostic(
    "advisory-not-detected", "advisory was not encountered", "warning", labels=[{"span": "RUSTSEC-2020-0001"}]
)
INDEX = diagnostic("index-failure", "unable to check for yanked crates", "warning", graphs=GRAPH, notes=["no index"])
CACHE = diagnostic("index-cache-load-failure", "failed to load index cache", notes=["no home"])
UNREACHABLE = log("failed to fetch advisory database https://db.example: fatal: Could not resolve host\n")
CONFIG = diagnostic(None, "found 1 unexpected keys")


class TheProgram(unittest.TestCase):
    # The output of cargo-deny, its exit code, our exit code, and text in our output.
    CASES: list[tuple[list[Any], int, int, str]] = [
        ([summary(0)], 0, 0, "No advisories."),
        (["    Updating the index", summary(0)], 0, 0, "No advisories."),
        ([REMARK, STALE, summary(0)], 0, 0, "Remark: advisory was not encountered: RUSTSEC-2020-0001"),
        ([VULNERABLE, summary(1)], 1, 1, "| tokio 1.0.0 | RUSTSEC-2026-0001 | tokio is \\| bad | Upgrade to >=2 (try"),
        ([VULNERABLE, OLD, summary(2)], 1, 1, "Advisories: axum 1.0.0, tokio 1.0.0\n\n| crate"),
        ([YANKED, summary(1)], 1, 1, "cargo update --package serde"),
        ([VULNERABLE, INDEX, summary(1)], 1, 1, "Not checked: unable to check for yanked crates: no index"),
        (
            [INDEX, INDEX, summary(0)],
            0,
            2,
            "could not check everything: unable to check for yanked crates: no index\n",
        ),
        ([CACHE, summary(1)], 1, 2, "could not check everything: failed to load index cache"),
        ([diagnostic("new-code", "what?"), summary(1)], 1, 2, "could not check everything: what?"),
        ([UNREACHABLE], 1, 2, "could not check (exit code 1): failed to fetch advisory database"),
        ([CONFIG, log("failed to validate deny.toml")], 1, 2, "found 1 unexpected keys; failed to validate deny.toml"),
        # Truncated or unknown output.
        ([VULNERABLE], 1, 2, "could not check"),
        ([], 0, 2, "no output"),
        ([summary(1)], 1, 2, "counted 1 errors, named 0, and exited with 1"),
        ([summary(0)], 1, 2, "counted 0 errors, named 0, and exited with 1"),
        ([VULNERABLE, summary(1)], 0, 2, "counted 1 errors, named 1, and exited with 0"),
        (["{"], 1, 2, "is not JSON"),
        ([{"type": "diagnostic"}], 1, 2, "unexpected output of"),
        ([{"type": "summary", "fields": {}}], 0, 2, "unexpected output of"),
        ([diagnostic("vulnerability", "no crate")], 1, 2, "unexpected output of"),
        (["error: no such command: `deny`"], 101, 2, "cargo-deny is not installed"),
    ]

    def test_exit_codes(self) -> None:
        for lines, code, expected, text in self.CASES:
            with self.subTest(text), tempfile.TemporaryDirectory() as folder:
                said, issue = Path(folder, "said"), Path(folder, "issue.md")
                said.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
                stub(folder, "cargo", f"cat {said} >&2; exit {code}")
                variables = {"PATH": f"{folder}{os.pathsep}/bin"}
                done = run(advisories.__file__, "--issue", str(issue), variables=variables)
                self.assertEqual(done.returncode, expected, done.stderr)
                self.assertIn(text, done.stdout + done.stderr)
                self.assertNotIn("Traceback", done.stderr)
                self.assertEqual(issue.exists(), expected == 1)
                if issue.exists():
                    self.assertTrue(issue.read_text().startswith("Advisories: "))

    def test_without_cargo(self) -> None:
        done = run(advisories.__file__, variables={"PATH": "/nope"})
        self.assertEqual((done.returncode, done.stderr), (2, "error: cargo is not on the PATH\n"))

    def test_a_line_that_is_nested_too_deeply(self) -> None:
        with self.assertRaisesRegex(Problem, "nested too deeply"):
            parse('{"a": ' + "[" * 200000, 0)
