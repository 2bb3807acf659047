"""For any input and output, a program ends with the intended exit code, a message, and no traceback."""

import os
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import report
from report import Problem
from tests.program import run

CI = Path(report.__file__).parent
PLAN = [sys.executable, str(CI / "plan.py"), "--files", "/dev/null"]


class Ends(unittest.TestCase):
    def test_exit_codes(self) -> None:
        def fail(error: BaseException) -> Callable[[], int]:
            def main() -> int:
                raise error

            return main

        for main, code, message in [
            (lambda: 0, 0, ""),
            (lambda: 1, 1, ""),
            (fail(Problem("no")), 2, "error: no\n"),
            (fail(FileNotFoundError(2, "No such file", "x")), 2, "error: x: No such file\n"),
            (fail(OSError("odd")), 2, "error: standard output: odd\n"),
            (fail(BrokenPipeError()), 141, ""),
            (fail(KeyboardInterrupt()), 130, ""),
        ]:
            said = StringIO()
            with self.subTest(message), redirect_stderr(said), self.assertRaises(SystemExit) as end:
                report.run(main)
            self.assertEqual((end.exception.code, said.getvalue()), (code, message))

    def test_output_that_cannot_be_written(self) -> None:
        if os.path.exists("/dev/full"):  # only on Linux
            with open("/dev/full", "w") as full:
                done = subprocess.run(PLAN, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (2, "error: standard output: No space left on device\n"))
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(PLAN, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
        os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (141, ""))
        for variable in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
            with self.subTest(variable):
                done = run(CI / "plan.py", "--files", "/dev/null", variables={variable: "/nope/x"})
                self.assertEqual((done.returncode, done.stderr), (2, "error: /nope/x: No such file or directory\n"))

    def test_every_program_ends_like_this(self) -> None:
        for path in CI.glob("*.py"):
            if path.name != "report.py":
                with self.subTest(path.name):
                    self.assertIn("\n    report.run(main)\n", path.read_text())


class Input(unittest.TestCase):
    def test_json(self) -> None:
        for text, message in [
            ("", "file: is not JSON"),
            ("[" * 200000, "file: is nested too deeply"),
            ("1" + "0" * 10000, "file: is not JSON"),
            ('{"a": {"b": 1, "b": 1}}', "file: is not JSON: duplicate key 'b'"),
        ]:
            with self.subTest(text[:20]), self.assertRaisesRegex(Problem, message):
                report.parse_json(text, "file")

    def test_commands(self) -> None:
        self.assertEqual(report.command(["printf", r"a\377b"]).stdout, r"a\xffb")
        self.assertEqual(report.command(["false"]).returncode, 1)
        for line, message in [
            (["no-such-program"], "no-such-program is not on the PATH"),
            (["/etc/passwd"], "/etc/passwd: cannot be started: Permission denied"),
            (["echo", "a\0b"], "echo: cannot start with .*null byte"),
            (["echo", "\ud800"], "echo: cannot start with .*surrogates"),
            (["echo", "x" * 3_000_000], "echo: cannot be started: Argument list too long"),
        ]:
            with self.subTest(message), self.assertRaisesRegex(Problem, message):
                report.command(line)

    def test_files(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "file")
            path.write_bytes(b"\xff")
            for name, message in [(str(path), "is not UTF-8"), (folder, "Is a directory"), ("/nope", "No such file")]:
                with self.subTest(message), self.assertRaisesRegex(Problem, f"{name}: {message}"):
                    report.read(name)
            report.write(str(path), "\ud800")
            self.assertEqual(report.read(str(path)), r"\ud800")


class Markdown(unittest.TestCase):
    def test_long_text_is_cut_at_a_line(self) -> None:
        self.assertEqual(report.cut("a\nb\n", 4), "a\nb\n")
        for text in ("ä" * 300, "ä\n" * 300):
            for limit in (0, 10, 100, 200):
                with self.subTest(f"{text[:3]} {limit}"):
                    self.assertLessEqual(len(report.cut(text, limit).encode()), limit)
        self.assertRegex(report.cut("line\n" * 100, 100), r"^(line\n)+\nThe rest is omitted")

    def test_no_output_ends_a_block(self) -> None:
        self.assertEqual(report.block(["```", "", "# x"]), "    ```\n    \n    # x\n")

    def test_a_summary_stays_within_the_limit_of_github(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            lines = Path(folder, "lines")
            lines.write_text("".join(f"{number:0400}\n" for number in range(9000)))
            summary = Path(folder, "summary")
            code = "import report; [report.show(report.read('lines')) for _ in range(2)]"
            variables = {**os.environ, "GITHUB_STEP_SUMMARY": str(summary), "PYTHONPATH": str(CI)}
            subprocess.run([sys.executable, "-c", code], cwd=folder, env=variables, capture_output=True, check=True)
            self.assertLessEqual(summary.stat().st_size, report.SUMMARY)
            self.assertTrue(summary.read_text().endswith("because it exceeds GitHub's limit.\n"))
