"""The workflows, the rules, the commands and the README agree with each other."""

import re
import unittest

from coverage import ROOT
from pipeline import JOBS, parse
from plan import RULES, parse_rules

WORKFLOWS = ROOT / ".github" / "workflows"
CI = (WORKFLOWS / "ci.yml").read_text()


class Workflows(unittest.TestCase):
    def test_ci_runs_every_job_of_the_rules_and_waits_for_it(self) -> None:
        jobs = parse_rules(RULES.read_text(), "paths.toml").jobs
        for job in jobs:
            with self.subTest(job):
                self.assertIn(f"\n  {job}:\n", CI)
                self.assertIn(f"if: fromJSON(needs.plan.outputs.plan).jobs.{job}.needed\n", CI)
        found = re.search(r"needs: \[(plan, .*)\]", CI)
        self.assertEqual(found and found[1].split(", "), ["plan", *jobs])

    def test_every_check_of_the_flake_runs(self) -> None:
        checks = re.findall(
            r"^  ([a-z-]+) = ", (ROOT / "nix" / "checks.nix").read_text().partition("\nin\n")[2], re.MULTILINE
        )
        commands = [step.nix or "" for step in parse(JOBS.read_text(), "jobs.toml")["code-quality"]]
        # The workflows run these outside of Nix's sandbox, where a failure leaves a report.
        elsewhere = {"browser", "console", "doctest", "integration", "nextest"}
        missing = [
            check
            for check in checks
            if check not in elsewhere and not any(line.endswith(f".#checks.x86_64-linux.{check}") for line in commands)
        ]
        self.assertTrue(checks)
        self.assertEqual(missing, [], "add a step to code-quality in ci/jobs.toml")

    def test_every_job_has_commands_and_a_workflow_that_runs_them(self) -> None:
        jobs = parse(JOBS.read_text(), "jobs.toml")
        self.assertEqual(list(jobs), parse_rules(RULES.read_text(), "paths.toml").jobs)
        called = "".join(path.read_text() for path in WORKFLOWS.glob("*.yml"))
        for job in jobs:
            with self.subTest(job):
                self.assertRegex(called, rf"ci/pipeline.py --job {job}\n|\bJOB: .*'{job}'")

    def test_every_workflow_and_program_is_in_the_readme(self) -> None:
        readme = (WORKFLOWS / "README.md").read_text()
        names = [
            path.name for path in (*WORKFLOWS.glob("*.yml"), *(ROOT / "ci").glob("*.py")) if path.name != "report.py"
        ]
        self.assertEqual([name for name in names if name not in readme], [])

    def test_every_program_that_a_workflow_calls_exists(self) -> None:
        for path in WORKFLOWS.glob("*.yml"):
            for program in re.findall(r"python3 (ci/\S+\.py)", path.read_text()):
                with self.subTest(f"{path.name}: {program}"):
                    self.assertTrue((ROOT / program).is_file())
