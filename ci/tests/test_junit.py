"""Reports in the form that nextest writes, and broken ones."""

import tempfile
import unittest
from pathlib import Path

import junit
from junit import parse, summary
from report import Problem
from tests.program import run

REPORT = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="4" failures="1" errors="0" time="2.5">
  <testsuite name="tasker-api" tests="4" failures="1">
    <testcase name="fast" time="0.010"/>
    <testcase name="slow" time="2.000"/>
    <testcase name="shaky" time="0.100"><flakyFailure message="once" time="0.1"/></testcase>
    <testcase name="broken|pipe" time="0.300">
      <failure message="assertion failed" type="test failure">at lib.rs:1</failure>
      <system-err>```
left: 1</system-err>
    </testcase>
    <testcase name="later"><skipped/></testcase>
  </testsuite>
</testsuites>
"""


class Reports(unittest.TestCase):
    def test_results(self) -> None:
        tests = {test.name: test for test in parse(REPORT, "")}
        self.assertEqual(
            {name.removeprefix("tasker-api: "): test.result for name, test in tests.items()},
            {"fast": "passed", "slow": "passed", "shaky": "flaky", "broken|pipe": "failed", "later": "skipped"},
        )
        self.assertEqual(tests["tasker-api: broken|pipe"].output, "assertion failed\nat lib.rs:1\n```\nleft: 1")

    def test_only_the_panic_is_shown(self) -> None:
        text = (
            "running 1 test\nthread 'x' (7) panicked at src/lib.rs:1:\nleft: 1\nright: 2\nstack backtrace:\n   0: x\n"
        )
        self.assertEqual(junit.essence(["gone", text]), "thread 'x' (7) panicked at src/lib.rs:1:\nleft: 1\nright: 2")
        self.assertEqual(junit.essence(["a", "b"]), "a\nb")

    def test_summary(self) -> None:
        text = summary(parse(REPORT, ""))
        self.assertIn("\n    left: 1\n", text)
        self.assertIn("\n    ```\n", text)
        self.assertIn("broken\\|pipe", text)
        self.assertLess(text.index("tasker-api: slow "), text.index("tasker-api: fast "))

    def test_bad_ones(self) -> None:
        for text in (
            "",
            "tests",
            "<a>",
            '<testsuite><testcase time="long"/></testsuite>',
            '<testsuite><testcase time="nan"/></testsuite>',
            '<testsuite><testcase time="inf"/></testsuite>',
            '<testsuite><testcase time="-5"/></testsuite>',
            '<testsuite failures="3"><testcase name="a"/></testsuite>',
            '<testsuite errors="1"><testcase name="a"/></testsuite>',
            '<testsuites failures="2"><testsuite><testcase><error/></testcase></testsuite></testsuites>',
        ):
            with self.subTest(text), self.assertRaisesRegex(Problem, "junit.xml: is not a JUnit report"):
                parse(text, "junit.xml")

    def test_a_very_long_line(self) -> None:
        text = summary(parse(REPORT.replace("left: 1", "x" * 5_000_000).replace("fast", "y" * 5_000_000), ""))
        self.assertLess(len(text), 10_000)
        self.assertIn("x… (4999500 more characters)", text)

    def test_exit_codes(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "junit.xml")
            for text, code, message in [
                (REPORT, 1, "broken"),
                ('<testsuite><testcase name="a"/></testsuite>', 0, "slowest"),
                ("<testsuites/>", 2, "no test ran"),
                ("<", 2, "is not a JUnit report"),
            ]:
                with self.subTest(message):
                    path.write_text(text)
                    done = run(junit.__file__, str(path))
                    self.assertEqual(done.returncode, code)
                    self.assertIn(message, done.stdout + done.stderr)
