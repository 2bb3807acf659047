"""The client depends on nothing that only servers need: `cargo tree` of this workspace."""

import subprocess
import unittest

from release import ROOT

# SQL, YAML, JSON schemas and log output, and our crates that bring them.
FORBIDDEN = {
    "granit-parser",
    "jsonschema",
    "pgmq-notify",
    "sqlx",
    "tasker-engine",
    "tasker-runtime",
    "tasker-template",
    "tracing-subscriber",
}


class Dependencies(unittest.TestCase):
    def test_the_client_has_a_small_tree(self) -> None:
        command = ["cargo", "tree", "--package", "tasker-client", "--edges", "normal", "--prefix", "none", "--locked"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        names = {line.split(" ")[0] for line in done.stdout.splitlines() if line}
        # The output is complete.
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("tasker-api", names)
        found = FORBIDDEN & names
        self.assertFalse(found, f"`cargo tree --package tasker-client --invert {min(found, default='NAME')}` shows why")


if __name__ == "__main__":
    unittest.main()
