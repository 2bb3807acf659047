"""The pipeline runs the jobs that the plan needs, and a step that fails or cannot run is never a success."""

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import pipeline
from pipeline import Step, parse
from report import Problem
from tests.program import run


class Jobs(unittest.TestCase):
    CASES = [
        ("[job]\nname = 'a'", "expected steps"),
        ("job = 1", "expected steps"),
        ("[[job]]\nrun = 'x'", "job, step 1: has no name"),
        ("[[job]]\nname = 'a'", "expected a command"),
        ("[[job]]\nname = 'a'\nrun = ''", "expected a command"),
        ("[[job]]\nname = 'a'\nrun = 1", "expected a command"),
        ("[[job]]\nname = 'a'\nrun = 'x'\ntools = 'y'", "tools: expected a list"),
        ("[[job]]\nname = 'a'\nrun = 'x'\ntool = ['y']", "unknown tool"),
    ]

    def test_bad_files(self) -> None:
        for text, message in self.CASES:
            with self.subTest(text), self.assertRaisesRegex(Problem, "jobs.toml: .*" + message):
                parse(text, "jobs.toml")

    def test_commands(self) -> None:
        # The step, its command with Nix, its command without.
        for step, nix, plain in [
            (Step("a", run="x"), "x", "x"),
            (Step("a", run="x", nix="y"), "y", "x"),
            (Step("a", nix="y"), "y", None),
            (
                Step("a", run="x 'y'", tools=("t", "u")),
                "nix shell --inputs-from . nixpkgs#t nixpkgs#u --command bash -euo pipefail -c 'x '\"'\"'y'\"'\"''",
                "x 'y'",
            ),
        ]:
            with self.subTest(step):
                self.assertEqual((step.command(True), step.command(False)), (nix, plain))


class InARepository(unittest.TestCase):
    """A repository with two jobs, and a change that needs the first."""

    RULES = """
        [jobs]
        one = {}
        two = { label = "all" }
        [[rule]]
        name = "first"
        paths = ["first"]
        jobs = ["one"]
        [[rule]]
        name = "ci"
        paths = ["ci/**"]
        jobs = []
    """
    JOBS = """
        [[one]]
        name = "base"
        run = 'echo "base $BASE"; touch ran-one'
        [[two]]
        name = "breaks"
        run = "false; touch goes-on-after-a-failure"
        [[two]]
        name = "next"
        run = "touch ran-after-a-failed-step"
        [[two]]
        name = "images"
        nix = "touch ran-with-nix"
    """

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = Path(folder.name)
        (self.tree / "ci").mkdir()
        for name in ("pipeline.py", "plan.py", "report.py", "success.py"):
            shutil.copy(Path(pipeline.__file__).with_name(name), self.tree / "ci")
        (self.tree / "ci/paths.toml").write_text(self.RULES)
        (self.tree / "ci/jobs.toml").write_text(self.JOBS)
        (self.tree / ".gitignore").write_text("__pycache__\n")
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit()
        self.git("checkout", "--quiet", "-b", "work")
        (self.tree / "first").touch()
        self.commit()

    def git(self, *arguments: str) -> str:
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"]
        return subprocess.run([*git, *arguments], cwd=self.tree, check=True, capture_output=True, text=True).stdout

    def commit(self) -> None:
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "x")

    def pipeline(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # From another folder: the repository is that of the program.
        return run(self.tree / "ci/pipeline.py", "--plain", *arguments, cwd="/")

    def files(self) -> set[str]:
        return {path.name for path in self.tree.iterdir()} - {"ci", ".git", ".gitignore", "first"}

    def test_runs_what_the_change_needs(self) -> None:
        done = self.pipeline()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.files(), {"ran-one"})
        self.assertIn(f"base {self.git('rev-parse', 'main').strip()}", done.stdout)
        self.assertRegex(done.stdout, r"\| one +\| success +\| first \(first\)")
        self.assertRegex(done.stdout, r"\| two +\| not needed +\| none of the 1 changed files needs it")
        self.assertIn("Every job that this change needs has succeeded.", done.stdout)

    def test_a_failed_step_fails_the_job_and_stops_nothing(self) -> None:
        done = self.pipeline("--label", "all")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(self.files(), {"ran-one", "ran-after-a-failed-step"})
        self.assertIn("Failed: two.", done.stdout)

    def test_a_step_that_needs_nix_fails_without_it(self) -> None:
        (self.tree / "ci/jobs.toml").write_text(self.JOBS.replace("false; touch goes-on-after-a-failure", "true"))
        done = self.pipeline("--job", "two")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("needs Nix, which is not installed", done.stderr)
        self.assertRegex(done.stdout, r"\| ✗ \| images +\| failure")
        done = self.pipeline("--label", "all", "--without", "two")
        self.assertEqual((done.returncode, "left out on request" in done.stdout), (0, True), done.stderr)

    def test_one_job(self) -> None:
        done = self.pipeline("--job", "one", "--base", "main")
        self.assertEqual((done.returncode, "not allowed with" in done.stderr), (2, True))
        done = self.pipeline("--job", "three")
        self.assertEqual((done.returncode, "no such job; there are one, two" in done.stderr), (2, True))

    def test_lists_and_runs_nothing(self) -> None:
        done = self.pipeline("--list")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.files(), set())
        self.assertRegex(done.stdout, r"\| two +\| next +\| touch ran-after-a-failed-step")

    def test_what_cannot_be_planned(self) -> None:
        done = self.pipeline("--base", "nowhere")
        self.assertEqual((done.returncode, "git knows no commit 'nowhere'" in done.stderr), (2, True))
        self.git("branch", "--move", "main", "other")
        done = self.pipeline()
        self.assertEqual((done.returncode, "git knows none of origin/main, main" in done.stderr), (2, True))
        (self.tree / "ci/jobs.toml").write_text("[[one]]\nname = 'a'\nrun = 'true'\n")
        done = self.pipeline("--base", "HEAD^")
        self.assertEqual((done.returncode, "do not have the same jobs: two" in done.stderr), (2, True))
