"""The comparison finds real differences, rarely false ones, and says when it cannot tell."""

import json
import os
import random
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import benchmark
from benchmark import Benchmark, compare, compare_pairs, depth, merge, parse, sign_depth
from report import Problem
from tests.program import run, stub


def result(samples: list[float], better: str = "higher", name: str = "steps") -> dict[str, Benchmark]:
    return {name: Benchmark(name, "steps/s", better, samples)}


def noisy(chance: random.Random, centre: float, noise: float, count: int = 10) -> list[float]:
    return [centre * chance.lognormvariate(0, noise) for _ in range(count)]


class Statistics(unittest.TestCase):
    def test_depth_agrees_with_printed_tables_of_critical_values(self) -> None:
        # Both sizes, the two-sided error, the critical U of the tables (None: too few samples).
        for count, other, error, critical in [
            (5, 5, 0.05, 2),
            (8, 8, 0.05, 13),
            (8, 8, 0.01, 7),
            (10, 10, 0.05, 23),
            (10, 10, 0.01, 16),
            (4, 6, 0.05, 2),
            (20, 20, 0.05, 127),
            (3, 3, 0.05, None),
            (41, 41, 0.05, 628),
        ]:
            with self.subTest(f"{count} {other} {error}"):
                self.assertEqual(depth(count, other, error / 2), 0 if critical is None else critical + 1)

    def test_the_interval_contains_the_true_ratio_as_often_as_stated(self) -> None:
        chance = random.Random(1)
        misses = 0
        for _ in range(1000):
            (found,) = compare(result(noisy(chance, 100, 0.2)), result(noisy(chance, 80, 0.2)))
            misses += not found.low <= 100 / 80 <= found.high
        # 1 % is expected. 2.2 % is four standard deviations more.
        self.assertLess(misses, 22)

    def test_equal_sides_are_almost_never_a_regression(self) -> None:
        chance = random.Random(2)
        alarms = 0
        for _ in range(500):
            (found,) = compare(result(noisy(chance, 100, 0.15)), result(noisy(chance, 100, 0.15)))
            alarms += found.verdict == "regression"
        self.assertLessEqual(alarms, 2)

    def test_verdicts(self) -> None:
        # The speed of head (base has 100), the noise, the verdict.
        for head, noise, verdict in [
            (80, 0.02, "regression"),
            (93, 0.001, "regression"),
            (97, 0.005, "no regression"),
            (100, 0.01, "no regression"),
            (100, 0.3, "within noise"),
            (130, 0.02, "faster"),
        ]:
            with self.subTest(f"{head} {noise}"):
                chance = random.Random(3)
                base, ours = noisy(chance, 100, noise), noisy(chance, head, noise)
                self.assertEqual(compare(result(base), result(ours))[0].verdict, verdict)
                # The same values as times instead of speeds.
                base, ours = [1 / sample for sample in base], [1 / sample for sample in ours]
                self.assertEqual(compare(result(base, "lower"), result(ours, "lower"))[0].verdict, verdict)

    def test_one_outlier_is_no_regression(self) -> None:
        self.assertEqual(compare(result([100.0] * 10), result([100.0] * 9 + [1.0]))[0].verdict, "no regression")

    def test_a_value_of_zero(self) -> None:
        cases = [(0.0, 0.0, "no regression"), (0.0, 1.0, "regression"), (1.0, 0.0, "faster")]
        for base, head, verdict in cases:
            with self.subTest(f"{base} {head}"):
                (found,) = compare(result([base] * 10, "lower"), result([head] * 10, "lower"))
                self.assertEqual(found.verdict, verdict)

    def test_too_few_samples(self) -> None:
        with self.assertRaisesRegex(Problem, "steps: 3 and 3 samples are too few"):
            compare(result([1, 2, 3]), result([1, 2, 3]))

    def test_what_cannot_be_compared(self) -> None:
        with self.assertRaisesRegex(Problem, "no benchmark in common"):
            compare(result([1], name="a"), result([1], name="b"))
        with self.assertRaisesRegex(Problem, "base says steps/s, lower is better; head says steps/s, higher"):
            compare(result([1], "lower"), result([1]))

    def test_a_run_gives_one_sample(self) -> None:
        merged = merge([result([1, 2, 30]), result([4, 6]), result([9], name="other")])
        self.assertEqual({name: each.samples for name, each in merged.items()}, {"steps": [2, 5], "other": [9]})


class Pairs(unittest.TestCase):
    def test_depth_agrees_with_printed_tables_of_the_sign_test(self) -> None:
        # The number of pairs, the two-sided error, the critical number of signs of the tables (None: too few pairs).
        for count, error, critical in [(5, 0.05, None), (8, 0.05, 0), (10, 0.05, 1), (20, 0.05, 5), (20, 0.01, 3)]:
            with self.subTest(f"{count} {error}"):
                self.assertEqual(sign_depth(count, error / 2), 0 if critical is None else critical + 1)

    def test_a_machine_that_changes_hides_nothing(self) -> None:
        chance = random.Random(4)
        # It is up to five times slower in some rounds. Both sides of a round see the same machine.
        machine = [chance.uniform(20, 100) for _ in range(20)]
        for slower, verdict in [(1.0, "no regression"), (1.01, "no regression"), (1.04, "regression")]:
            with self.subTest(slower):
                base = [speed * chance.lognormvariate(0, 0.002) for speed in machine]
                head = [speed / slower * chance.lognormvariate(0, 0.002) for speed in machine]
                one, together = compare_pairs(result(base), result(head), 0.02)
                self.assertEqual((one.verdict, together.verdict), ("", verdict))

    def test_too_few_pairs(self) -> None:
        with self.assertRaisesRegex(Problem, "3 rounds are too few"):
            compare_pairs(result([1, 2, 3]), result([1, 2, 3]), 0.02)


class Costs(unittest.TestCase):
    """`cost`, with a stub of tasker-cli."""

    CLI = """#!/usr/bin/env python3
import json, os, sys, urllib.request
speed = 100
if address := os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
    speed = 80
    urllib.request.urlopen(address + "/v1/traces", b"spans").read()
listed = [("sequential", speed), ("watched sequential", 99)]
rounds = int(sys.argv[sys.argv.index("--rounds") + 1])
print(json.dumps({"benchmarks": [
    {"name": name, "unit": "steps/s", "better": "higher", "samples": [speed] * rounds} for name, speed in listed]}))
"""

    def test_each_has_its_budget(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder, "tasker-cli")
            program.write_text(self.CLI)
            program.chmod(0o755)
            for what, ratio, code in [("watchers", "1.010", 0), ("tracing", "1.250", 1)]:
                with self.subTest(what):
                    done = run(benchmark.__file__, "cost", what, "--rounds", "12", "--binary", str(program))
                    self.assertEqual(done.returncode, code, done.stdout + done.stderr)
                    self.assertIn(ratio, done.stdout)

    def test_too_few_rounds_are_refused_before_they_are_measured(self) -> None:
        done = run(benchmark.__file__, "cost", "tracing", "--rounds", "7")
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertIn("use 8 or more", done.stderr)


class Results(unittest.TestCase):
    ENTRY = {"name": "a", "unit": "s", "better": "lower", "samples": [1]}
    CASES = [
        ("", "is not JSON"),
        ("[" * 200000, "nested too deeply"),
        ('{"benchmarks": [], "benchmarks": []}', "duplicate key"),
        ("[]", "is not a result"),
        ("{}", "is not a result"),
        ('{"benchmarks": 1}', "is not a result"),
        ('{"benchmarks": [1]}', "is not a result"),
        ('{"benchmarks": []}', "has no benchmarks"),
        (json.dumps({"benchmarks": [ENTRY | {"better": "more"}]}), "a: better is 'more'"),
        (json.dumps({"benchmarks": [ENTRY | {"samples": []}]}), "a: samples: expected"),
        (json.dumps({"benchmarks": [ENTRY | {"samples": 1}]}), "a: samples: expected"),
        (json.dumps({"benchmarks": [ENTRY | {"samples": [1, -1]}]}), "a: samples: expected"),
        (json.dumps({"benchmarks": [ENTRY | {"samples": [True]}]}), "a: samples: expected"),
        (json.dumps({"benchmarks": [ENTRY | {"samples": [float("nan")]}]}), "a: samples: expected"),
        (json.dumps({"benchmarks": [ENTRY | {"samples": [10**400]}]}), "a: samples: expected"),
        (json.dumps({"benchmarks": [ENTRY | {"name": [1]}]}), "expected strings as name and unit"),
        (json.dumps({"benchmarks": [ENTRY | {"unit": 1}]}), "expected strings as name and unit"),
        (json.dumps({"benchmarks": [ENTRY, ENTRY]}), "two benchmarks have the same name"),
    ]

    def test_bad_ones(self) -> None:
        for text, message in self.CASES:
            with self.subTest(text), self.assertRaisesRegex(Problem, "head.json: .*" + message):
                parse(text, "head.json")


class TheProgram(unittest.TestCase):
    def test_exit_codes(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            base, head = Path(folder, "base.json"), Path(folder, "head.json")

            def write(path: Path, *speeds: float) -> None:
                listed = [
                    vars(b)
                    for i, speed in enumerate(speeds)
                    for b in result([speed + n for n in range(8)], name=f"b{i}").values()
                ]
                path.write_text(json.dumps({"benchmarks": listed}))

            write(base, 1000, 1000)
            for speeds, code, text in [
                ((1000, 1000), 0, "no regression"),
                ((500, 1000), 1, "regression"),
                ((1000,), 0, "Not compared: b1: only in base."),
                ((1000, 1000, 5), 0, "Not compared: b2: only in head."),
            ]:
                with self.subTest(speeds):
                    write(head, *speeds)
                    done = run(benchmark.__file__, "compare", str(base), str(head))
                    self.assertEqual(done.returncode, code, done.stderr)
                    self.assertIn(text, done.stdout)
            done = run(benchmark.__file__, "compare", "missing", str(head))
            self.assertEqual((done.returncode, "missing: No such file" in done.stderr), (2, True))
            done = run(benchmark.__file__, "against", "HEAD", "--rounds", "2")
            self.assertEqual((done.returncode, "too few" in done.stderr), (2, True))


class InARepository(unittest.TestCase):
    """`against`, with a stub of cargo. The speed of the tasker-cli that it makes is in a file of the tree."""

    CARGO = """
while [ "$1" != --target-dir ]; do shift; done
mkdir -p "$2/release"
echo built >> {builds}
cp speed.sh "$2/release/tasker-cli"
"""
    CLI = """#!/bin/sh
test "$1" = bench || exit 2
if [ "$2" != --help ]; then
  echo "$@" >> {calls}
  echo '{{"benchmarks": [{{"name": "steps", "unit": "steps/s", "better": "higher", "samples": [{speed}]}}]}}'
fi
"""

    def test_a_tree_against_its_base(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            builds = Path(folder, "builds")
            stub(folder, "cargo", self.CARGO.format(builds=builds))
            tree = Path(folder, "tree")
            (tree / "ci").mkdir(parents=True)
            for name in ("benchmark.py", "report.py"):
                shutil.copy(Path(benchmark.__file__).with_name(name), tree / "ci")
            git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"]
            subprocess.run([*git, "init", "--quiet"], cwd=tree, check=True)

            def commit(script: str) -> None:
                (tree / ".gitignore").write_text("target\n__pycache__\n")
                (tree / "speed.sh").write_text(script)
                (tree / "speed.sh").chmod(0o755)
                subprocess.run([*git, "add", "."], cwd=tree, check=True)
                subprocess.run([*git, "commit", "--quiet", "--message", "x"], cwd=tree, check=True)

            def against(*more: str) -> subprocess.CompletedProcess[str]:
                program, path = tree / "ci/benchmark.py", f"{folder}:{os.environ['PATH']}"
                return run(program, "against", "HEAD^", *more, variables={"PATH": path, "TMPDIR": folder})

            done = against("--results", str(tree / "ci/report.py/x"))
            self.assertEqual((done.returncode, "report.py/x: " in done.stderr), (2, True), done.stderr)
            calls = Path(folder, "bench.calls")
            commit("#!/bin/sh\nexit 2\n")
            commit(self.CLI.format(speed=100, calls=calls))
            done = against()
            self.assertEqual((done.returncode, "Nothing to compare with" in done.stdout), (0, True), done.stderr)
            commit(self.CLI.format(speed=50, calls=calls))
            done = against("--rounds", "8", "--", "--rounds", "2")
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("regression", done.stdout)
            self.assertEqual(calls.read_text().splitlines(), ["bench --json --rounds 2"] * 16)
            # The base was the head of the previous comparison.
            self.assertEqual(len(builds.read_text().splitlines()), 3)
            # Uncommitted changes are measured too, and their binary is not kept.
            (tree / "speed.sh").write_text(self.CLI.format(speed=10, calls=calls))
            against("--rounds", "8")
            self.assertEqual(
                parse((tree / "target/benchmark-results/head.json").read_text(), "")["steps"].samples, [10] * 8
            )
            self.assertEqual(len(list((tree / "target/benchmark").iterdir())), 1)
            kept = parse((tree / "target/benchmark-results/base.json").read_text(), "base.json")
            self.assertEqual(kept["steps"].samples, [100] * 8)
            commit("#!/bin/sh\nexit 2\n")
            done = against()
            self.assertEqual((done.returncode, "has no `bench`" in done.stderr), (2, True))
            listed = subprocess.run([*git, "worktree", "list"], cwd=tree, capture_output=True, text=True, check=True)
            self.assertEqual(len(listed.stdout.splitlines()), 1)
