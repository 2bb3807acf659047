"""There is never more than one open issue. The tests use a stub of gh."""

import tempfile
import unittest
from pathlib import Path

import issue
from tests.program import calls, run, stub

LIST = "issue list --app github-actions --label x"


class TheProgram(unittest.TestCase):
    # The issues that gh lists, the arguments, the exit code, the first words of the calls to gh, the output.
    CASES = [
        ("[]", ["TEXT"], 0, [LIST, "label create x --desc", "issue create"], "made"),
        ('[{"number": 7}]', ["TEXT"], 0, [LIST, "issue edit 7"], "updated issue 7"),
        ('[{"number": 7}]', ["--close"], 0, [LIST, "issue close 7"], "closed issue 7"),
        ("[]", ["--close"], 0, [LIST], "there is no open issue"),
        ("nonsense", ["--close"], 2, [LIST], "`gh issue list`: is not JSON"),
        ("[{}]", ["--close"], 2, [LIST], "`gh issue list` printed unexpected output"),
        ('{"number": 7}', ["--close"], 2, [LIST], "`gh issue list` printed unexpected output"),
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
                Path(folder, "EMPTY").write_text(" \t\nThe body\n")
                done = run(issue.__file__, "--label", "x", *arguments, cwd=folder, variables={"PATH": f"{folder}:/bin"})
                self.assertEqual(done.returncode, code, done.stderr)
                said = calls(folder, "gh")
                self.assertEqual([line[: len(start)] for line, start in zip(said, expected, strict=True)], expected)
                self.assertIn(text, done.stdout + done.stderr)

    def test_any_text(self) -> None:
        long = "x" * 400 + "\n"
        for text, arguments, title, body in [
            ("Title\n\nThe *body*\n", [], "Title", "The *body*"),
            ("Title\n~~~\n# no *Markdown*\n", ["--log"], "Title", "    ~~~\n    # no *Markdown*\n"),
            ("Ti\0tle\nbo\0dy", [], "Ti\ufffdtle", "bo\ufffddy"),
            ("t" * 300 + "\nbody", [], "t" * 256, "body"),
            (
                "Title\n\n" + long * 500,
                [],
                "Title",
                long * 163 + "\nThe rest is omitted, because it exceeds GitHub's limit.\n",
            ),
        ]:
            for listed in ("[]", '[{"number": 7}]'):
                with self.subTest(f"{text[:20]!r} {listed}"), tempfile.TemporaryDirectory() as folder:
                    stub(
                        folder,
                        "gh",
                        f"case \"$2\" in list) echo '{listed}' ;; create|edit) cat > {folder}/body ;; esac",
                    )
                    Path(folder, "text").write_text(text)
                    variables = {"PATH": f"{folder}:/bin"}
                    done = run(issue.__file__, "--label", "x", f"{folder}/text", *arguments, variables=variables)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertEqual(Path(folder, "body").read_text(), body)
                    self.assertIn(f" --title {title} ", calls(folder, "gh")[-1])

    def test_an_existing_label_does_not_change(self) -> None:
        for said, code in [('label with name "x" already exists; use `--force`', 0), ("HTTP 403", 2)]:
            with self.subTest(said), tempfile.TemporaryDirectory() as folder:
                stub(folder, "gh", f"case \"$1\" in label) echo '{said}' >&2; exit 1 ;; *) echo '[]' ;; esac")
                Path(folder, "text").write_text("Title\n")
                done = run(issue.__file__, "--label", "x", f"{folder}/text", variables={"PATH": f"{folder}:/bin"})
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertNotIn("--force", " ".join(calls(folder, "gh")))

    def test_when_gh_fails(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            stub(folder, "gh", "echo 'HTTP 403' >&2; exit 1")
            done = run(issue.__file__, "--label", "x", "--close", variables={"PATH": f"{folder}:/bin"})
            self.assertEqual((done.returncode, done.stderr), (2, "error: `gh issue list` failed: HTTP 403\n"))
