"""The tests that docs/guarantees.md names exist."""

import re
import unittest

from release import ROOT


class Guarantees(unittest.TestCase):
    def test_every_named_test_exists(self) -> None:
        text = (ROOT / "docs/guarantees.md").read_text()
        # Names of tests, and of nothing else on that page, have three underscores or more.
        named = set(re.findall(r"\b[a-z0-9]+(?:_[a-z0-9]+){3,}\b", text))
        sources = "\n".join(path.read_text() for path in (ROOT / "crates").glob("**/*.rs"))
        existing = set(re.findall(r"\bfn ([a-z0-9_]+)\(", sources))
        self.assertGreater(len(named), 30)
        self.assertEqual(sorted(named - existing), [])
