"""Each crate is compared with its threshold, and no crate is left out."""

import json
import os
import tempfile
import unittest
from pathlib import Path

import coverage
from coverage import Lines, judge, parse_report, parse_thresholds, parse_variables
from report import Problem
from tests.program import calls, run, stub


def measured(**crates: tuple[int, int]) -> str:
    files = [
        {
            "filename": f"/any/where/crates/{crate}/src/{part}.rs",
            "summary": {"lines": {"covered": share, "count": count}},
        }
        for crate, (covered, total) in crates.items()
        for part, share, count in (("a", covered, covered), ("b", 0, total - covered))
    ]
    return json.dumps({"data": [{"files": files}]})


class Thresholds(unittest.TestCase):
    CASES = [
        ("lines", "file.toml: "),
        ("", "expected one table"),
        ("[branches]\n", "expected one table"),
        ("[lines]\n[more]\n", "expected one table"),
        ("lines = 3", "expected one table"),
        ("[lines]\na = '80'", "a: '80' is not a percentage"),
        ("[lines]\na = 101", "a: 101 is not"),
        ("[lines]\na = -1", "a: -1 is not"),
        ("[lines]\na = true", "a: True is not"),
        ("[lines]\na = nan", "a: nan is not"),
        ("lines = " + "[" * 200000, "nested too deeply"),
        ("[lines]\na = 1" + "0" * 10000, "file.toml: is not TOML"),
    ]

    def test_bad_ones(self) -> None:
        for text, message in self.CASES:
            with self.subTest(text), self.assertRaisesRegex(Problem, message):
                parse_thresholds(text, "file.toml")

    def test_the_projects(self) -> None:
        listed = parse_thresholds(coverage.THRESHOLDS.read_text(), "coverage.toml")
        crates = {path.parent.name for path in (coverage.ROOT / "crates").glob("*/Cargo.toml")}
        self.assertEqual(set(listed) - crates, set(), "ci/coverage.toml lists a crate that is gone")


class Reports(unittest.TestCase):
    def test_bad_ones(self) -> None:
        for text in (
            "[]",
            "{}",
            '{"data": []}',
            '{"data": [{"files": [{}]}]}',
            '{"data": [{"files": [{"filename": 1}]}]}',
        ):
            with self.subTest(text), self.assertRaisesRegex(Problem, "is not a report of"):
                parse_report(text, "coverage.json")
        for covered, total in [("20", "10"), ("-1", "10"), ("1" + "0" * 400,) * 2, ("1.5", "2"), ("true", "2")]:
            text = measured(one=(8, 8)).replace('"covered": 8, "count": 8', f'"covered": {covered}, "count": {total}')
            with self.subTest(covered), self.assertRaisesRegex(Problem, "lines are covered?"):
                parse_report(text, "coverage.json")
        with self.assertRaisesRegex(Problem, "is not JSON"):
            parse_report("", "coverage.json")
        with self.assertRaisesRegex(Problem, "has no file of a crate"):
            parse_report('{"data": [{"files": []}]}', "coverage.json")

    def test_files_are_added_up(self) -> None:
        self.assertEqual(parse_report(measured(one=(3, 4)), ""), {"one": Lines(3, 4)})

    def test_judgement(self) -> None:
        # Covered and all lines, the threshold (None: not listed), is it good.
        for covered, total, least, good in [
            (80, 100, 80, True),
            (79, 100, 80, False),
            (100, 100, None, False),
            (0, 0, 100, True),
            (0, 10, 0, True),
        ]:
            with self.subTest(f"{covered}/{total} {least}"):
                thresholds: dict[str, float] = {} if least is None else {"one": least}
                (verdict,) = judge({"one": Lines(covered, total)}, thresholds, "")
                self.assertEqual(verdict.good, good)

    def test_a_crate_that_is_gone(self) -> None:
        with self.assertRaisesRegex(Problem, "two: listed here, but not in the coverage report"):
            judge({"one": Lines(1, 1)}, {"one": 1, "two": 1}, "file.toml")


class TheProgram(unittest.TestCase):
    def test_exit_codes(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            found, asked = Path(folder, "coverage.json"), Path(folder, "coverage.toml")
            found.write_text(measured(one=(8, 10)))
            for text, code, message in [
                ("[lines]\none = 80", 0, "Every crate"),
                ("[lines]\none = 81", 1, "not listed there: one."),
                ("[lines]", 1, "one"),
                ("x", 2, "error: "),
            ]:
                with self.subTest(text):
                    asked.write_text(text)
                    done = run(coverage.__file__, "--report", str(found), "--thresholds", str(asked))
                    self.assertEqual(done.returncode, code, done.stderr)
                    self.assertIn(message, done.stdout + done.stderr)

    def test_measuring_stops_at_the_first_failure(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            stub(
                folder,
                "cargo",
                """case "$*" in
                    "llvm-cov show-env") echo "WRAPPER='a b'" ;;
                    build*) [ "$WRAPPER" = "a b" ] && [ "$CARGO_TARGET_DIR" = /somewhere ] ;;
                    nextest*) exit 100 ;;
                esac""",
            )
            path = f"{folder}{os.pathsep}{os.environ['PATH']}"
            done = run(coverage.__file__, "--target-dir", "/somewhere", variables={"PATH": path})
            self.assertEqual((done.returncode, "nextest" in done.stderr), (2, True), done.stderr)
            self.assertIn("failed with exit code 100", done.stderr)
            ran = [line.split()[0] for line in calls(folder, "cargo")]
            self.assertEqual(ran, ["llvm-cov", "llvm-cov", "build", "nextest"])

    def test_variables_are_quoted_as_for_a_shell(self) -> None:
        self.assertEqual(parse_variables("A='x y'\nB=1=2\n"), {"A": "x y", "B": "1=2"})
