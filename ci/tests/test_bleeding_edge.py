"""The report names what broke, the other stages still run, and this tree does not change."""

import subprocess
import tempfile
import unittest
from pathlib import Path

import bleeding_edge
from bleeding_edge import Stage, run, stages, text
from tests.program import calls, stub
from tests.program import run as run_program


class Stages(unittest.TestCase):
    def outcomes(self, *scripts: str) -> list[bleeding_edge.Outcome]:
        listed = [Stage(f"stage{number}", ["sh", "-c", script]) for number, script in enumerate(scripts)]
        with tempfile.TemporaryDirectory() as folder:
            return run(listed, Path(folder), Path(folder))

    def test_results(self) -> None:
        for scripts, expected in [
            (("true", "true"), ["passed", "passed"]),
            (("true", "false", "true"), ["passed", "failed", "passed"]),
            (("false", "true", "true"), ["failed", "not run", "not run"]),
        ]:
            with self.subTest(scripts):
                self.assertEqual([outcome.result for outcome in self.outcomes(*scripts)], expected)

    def test_the_report(self) -> None:
        outcomes = self.outcomes("echo 'Updating serde v1.0.0 -> v1.0.1' >&2", "echo broken here; exit 3", "echo fine")
        written = text("cargo", outcomes)
        self.assertTrue(written.startswith("Bleeding edge (cargo): stage1 broken\n\n"))
        self.assertIn("    Updating serde v1.0.0 -> v1.0.1", written)
        self.assertIn("    broken here", written)
        self.assertNotIn("\n    fine", written)
        self.assertTrue(text("nix", self.outcomes("true")).startswith("Bleeding edge (nix): all passed\n"))

    def test_every_list_begins_with_the_update(self) -> None:
        for what in ("cargo", "nix"):
            self.assertEqual(stages(what, "nightly")[0].name, "update")


class TheProgram(unittest.TestCase):
    def test_it_works_on_a_copy(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder, "tree")
            (tree / "ci").mkdir(parents=True)
            for name in ("bleeding_edge.py", "report.py"):
                (tree / "ci" / name).write_text((Path(bleeding_edge.__file__).parent / name).read_text())
            (tree / "Cargo.lock").write_text("old")
            git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"]
            for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "x"]):
                subprocess.run([*git, *command], cwd=tree, check=True)
            stub(folder, "cargo", 'case "$2" in update) echo new > Cargo.lock ;; clippy) echo no lint; exit 1 ;; esac')
            done = run_program(
                tree / "ci/bleeding_edge.py",
                "cargo",
                "--toolchain",
                "beta",
                "--only",
                "clippy",
                "--issue",
                f"{folder}/issue.md",
                variables={"PATH": f"{folder}:/usr/bin:/bin"},
            )
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertEqual(
                [line.split()[:2] for line in calls(folder, "cargo")], [["+beta", "update"], ["+beta", "clippy"]]
            )
            self.assertEqual((tree / "Cargo.lock").read_text(), "old")
            self.assertTrue(Path(folder, "issue.md").read_text().startswith("Bleeding edge (cargo): clippy broken\n"))
            for issue, path, message in [
                ("/nope/x", f"{folder}:/usr/bin:/bin", "error: /nope/x: No such file"),
                ("x", folder, "git is not on the PATH"),
            ]:
                done = run_program(
                    tree / "ci/bleeding_edge.py", "cargo", "--issue", issue, cwd=folder, variables={"PATH": path}
                )
                self.assertEqual((done.returncode, message in done.stderr), (2, True), done.stderr)
            done = run_program(
                tree / "ci/bleeding_edge.py",
                "cargo",
                "--only",
                "nonsense",
                variables={"PATH": f"{folder}:/usr/bin:/bin"},
            )
            self.assertEqual((done.returncode, "nonsense: no such stage" in done.stderr), (2, True))
