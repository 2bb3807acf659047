"""One issue, whatever happens, on a gh that says what the test wants."""

import tempfile
import unittest
from pathlib import Path

import issue
from tests.program import calls, run, stub


class TheProgram(unittest.TestCase):
    # What gh lists, the arguments, the exit code, the first words of gh's calls, the output.
    CASES = [
        ("[]", ["TEXT"], 0, ["issue list", "label create", "issue create"], "made"),
        ('[{"number": 7}]', ["TEXT"], 0, ["issue list", "issue edit 7"], "rewrote issue 7"),
        ('[{"number": 7}]', ["--close"], 0, ["issue list", "issue close 7"], "closed issue 7"),
        ("[]", ["--close"], 0, ["issue list"], "no issue is open"),
        ("[]", [], 2, [], "give the file with the text, or --close"),
        ("[]", ["TEXT", "--close"], 2, [], "give the file with the text, or --close"),
        ("[]", ["missing"], 2, [], "missing: No such file"),
        ("[]", ["EMPTY"], 2, [], "the title, is empty"),
    ]

    def test_what_it_does(self) -> None:
        for listed, arguments, code, expected, text in self.CASES:
            with self.subTest(f"{listed} {arguments}"), tempfile.TemporaryDirectory() as folder:
                stub(
                    folder,
                    "gh",
                    f"case \"$1 $2\" in 'issue list') echo '{listed}' ;; 'issue create') echo made ;; esac",
                )
                Path(folder, "TEXT").write_text("The title\n\nThe body\n")
                Path(folder, "EMPTY").write_text("\nThe body\n")
                done = run(issue.__file__, "--label", "x", *arguments, cwd=folder, variables={"PATH": f"{folder}:/bin"})
                self.assertEqual(done.returncode, code, done.stderr)
                said = calls(folder, "gh")
                self.assertEqual([line[: len(start)] for line, start in zip(said, expected, strict=True)], expected)
                self.assertIn(text, done.stdout + done.stderr)

    def test_when_gh_fails(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            stub(folder, "gh", "echo 'HTTP 403' >&2; exit 1")
            done = run(issue.__file__, "--label", "x", "--close", variables={"PATH": f"{folder}:/bin"})
            self.assertEqual((done.returncode, done.stderr), (2, "error: `gh issue list` has failed: HTTP 403\n"))
