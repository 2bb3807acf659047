"""What the workflows, the rule file and their README say of each other is true."""

import re
import unittest

from coverage import ROOT
from plan import RULES, parse_rules

WORKFLOWS = ROOT / ".github" / "workflows"
CI = (WORKFLOWS / "ci.yml").read_text()


class Workflows(unittest.TestCase):
    def test_every_job_of_the_rules_is_asked_for_and_waited_for(self) -> None:
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
        quality = (WORKFLOWS / "code-quality.yml").read_text()
        # These two run outside of Nix's sandbox, where a failure leaves a report.
        elsewhere = {"nextest", "integration"}
        missing = [
            check for check in checks if check not in elsewhere and f".#checks.x86_64-linux.{check}\n" not in quality
        ]
        self.assertTrue(checks)
        self.assertEqual(missing, [], "add a step to code-quality.yml")

    def test_every_workflow_and_program_is_in_the_readme(self) -> None:
        readme = (WORKFLOWS / "README.md").read_text()
        names = [
            path.name for path in (*WORKFLOWS.glob("*.yml"), *(ROOT / "ci").glob("*.py")) if path.name != "report.py"
        ]
        self.assertEqual([name for name in names if name not in readme], [])

    def test_every_program_that_a_workflow_calls_is_there(self) -> None:
        for path in WORKFLOWS.glob("*.yml"):
            for program in re.findall(r"python3 (ci/\S+\.py)", path.read_text()):
                with self.subTest(f"{path.name}: {program}"):
                    self.assertTrue((ROOT / program).is_file())
