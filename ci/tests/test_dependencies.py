"""The client depends on nothing that only servers need, and every lock file follows the workspace."""

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

    def test_the_lock_files_of_the_other_workspaces_follow_the_crates(self) -> None:
        # They have the crates as dependencies by path, so a new dependency of a crate changes them too.
        locks = sorted([*ROOT.glob("bindings/*/Cargo.lock"), ROOT / "fuzz" / "Cargo.lock"])
        self.assertGreater(len(locks), 1)
        for lock in locks:
            manifest = (lock.parent / "Cargo.toml").relative_to(ROOT)
            with self.subTest(manifest):
                # Resolves, and downloads no crate.
                command = ["cargo", "update", "--workspace", "--locked", "--manifest-path", str(manifest)]
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
                advice = f"`cargo metadata --format-version 1 --manifest-path {manifest} >/dev/null` writes the lock file"
                self.assertEqual(done.returncode, 0, f"{done.stderr}\n{advice}")


if __name__ == "__main__":
    unittest.main()
