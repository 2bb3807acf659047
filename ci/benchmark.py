"""Tells whether this tree is slower than another revision, measured on the same machine with alternating runs.

    python3 ci/benchmark.py against origin/main                   builds both, measures them in turn, compares
    python3 ci/benchmark.py against origin/main -- --rounds 2     passes what follows -- to `tasker-cli bench`
    python3 ci/benchmark.py compare base.json head.json           compares two results
    python3 ci/benchmark.py cost watchers                         builds, and tells what 20 watchers cost
    python3 ci/benchmark.py cost tracing                          the same for sampled tracing

A result is the JSON that `tasker-cli bench --json` prints:

    {"benchmarks": [{"name": "sequential", "unit": "steps/s", "better": "higher", "samples": [5400.1, 5513.0]}]}

How it decides. For each benchmark it sorts the ratios of every sample of head to every sample of base. Their median is
the estimate. The interval comes from the exact rank test of Mann and Whitney: it contains the true ratio with the
stated confidence, whatever the distribution of the noise. The confidence is 99 % for all benchmarks together, so fewer
than 1 of 200 runs give a false alarm. A benchmark is a regression if the whole interval is worse than the margin
(5 %). If only a part of the interval is worse, the runs cannot tell. The runs of the two sides must alternate, so that
a machine that slows down or warms up affects both.

`cost` measures one program without and with something, in turn. Each round gives a pair, whose ratio a slow machine
changes little. The median of these ratios is the estimate. The interval comes from the sign test, which is exact too.
`together` is the geometric mean of the ratios of a round. It alone is judged: the budget, 2 % for watchers and 3 % for
tracing, is for the whole. The other rows show where the cost is. Each interval has the confidence for itself.
"""

from __future__ import annotations

import argparse
import bisect
import contextlib
import functools
import http.server
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
from report import Problem

try:
    from scipy.stats import mannwhitneyu
except ImportError as error:
    print(f"error: scipy cannot be loaded ({error}): python3 -m pip install scipy", file=sys.stderr)
    sys.exit(2)

ROOT = Path(__file__).parent.parent
# Where cargo builds.
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
CONFIDENCE = 0.99
MARGIN = 0.05
# How much more watchers or tracing may cost.
BUDGETS = {"watchers": 0.02, "tracing": 0.03}
WATCHERS = 20
# The share of tasks that are traced.
SAMPLED = 0.1
# What tracing may make slower.
TRACED = ("latency", "creation", "sequential", "wide", "mapped", "signals")
# The binaries of the last comparison.
KEPT = ROOT / "target" / "benchmark"


@dataclass
class Benchmark:
    name: str
    unit: str
    better: str
    samples: list[float]


@dataclass
class Comparison:
    name: str
    unit: str
    base: float
    head: float
    # The ratio of head to base. Above 1, head is worse.
    worse: float
    low: float
    high: float
    # None: it is not judged.
    margin: float | None = MARGIN

    @property
    def verdict(self) -> str:
        if self.margin is None:
            return ""
        if self.low > 1 + self.margin:
            return "regression"
        if self.high < 1 / (1 + self.margin):
            return "faster"
        if self.high <= 1 + self.margin:
            return "no regression"
        return "within noise"


def parse(text: str, source: str) -> dict[str, Benchmark]:
    """The benchmarks of a result, by name."""
    try:
        listed = report.parse_json(text, source)["benchmarks"]
        found = [Benchmark(entry["name"], entry["unit"], entry["better"], entry["samples"]) for entry in listed]
    except (LookupError, TypeError) as error:
        raise Problem(f"{source}: is not a result of `tasker-cli bench --json`: {error!r}") from error
    if not found:
        raise Problem(f"{source}: has no benchmarks")
    for benchmark in found:
        where = f"{source}: {benchmark.name}"
        if not isinstance(benchmark.name, str) or not isinstance(benchmark.unit, str):
            raise Problem(f"{where}: expected strings as name and unit")
        if benchmark.better not in ("higher", "lower"):
            raise Problem(f"{where}: better is {benchmark.better!r}; expected higher or lower")
        samples = benchmark.samples
        if not isinstance(samples, list) or not samples or not all(_amount(sample) for sample in samples):
            raise Problem(f"{where}: samples: expected a list of numbers, none below 0")
    by_name = {benchmark.name: benchmark for benchmark in found}
    if len(by_name) < len(found):
        raise Problem(f"{source}: two benchmarks have the same name")
    return by_name


def _amount(sample: Any) -> bool:
    return isinstance(sample, int | float) and not isinstance(sample, bool) and 0 <= sample <= sys.float_info.max


def chance(most: int, count: int, other: int) -> float:
    """How likely Mann and Whitney's U is at most `most`, for two samples of these sizes from the same distribution."""
    # scipy has this distribution only inside its test, so the test gets samples with this very U: one that lies above
    # `partly` values of the other sample, `above` that lie above all of them, and the rest below.
    above, partly = divmod(most, other)
    sample = [*range(above + 1 - count, 0), partly - 0.5, *range(other, other + above)]
    return float(mannwhitneyu(sample, range(other), alternative="less", method="exact").pvalue)


@functools.cache
def depth(count: int, other: int, error: float) -> int:
    """How many sorted ratios may be cut off at each end. It is the largest number for which the true ratio is among the
    cut ones with a probability of at most `error`."""
    # The chance rises with U, and U is below half of all pairs for every error that makes sense.
    return bisect.bisect_right(range(count * other // 2), error, key=lambda most: chance(most, count, other))


def compare(base: dict[str, Benchmark], head: dict[str, Benchmark]) -> list[Comparison]:
    """Compares the benchmarks that both results have. `unpaired` names the others."""
    names = [name for name in head if name in base]
    if not names:
        raise Problem("the two results have no benchmark in common")
    error = (1 - CONFIDENCE) / 2 / len(names)
    comparisons = []
    for name in names:
        ours, theirs = head[name], base[name]
        if (ours.unit, ours.better) != (theirs.unit, theirs.better):
            raise Problem(
                f"{name}: base says {theirs.unit}, {theirs.better} is better; head says {ours.unit}, {ours.better}"
            )
        pairs = [ratio(h, b) if ours.better == "lower" else ratio(b, h) for h in ours.samples for b in theirs.samples]
        pairs.sort()
        cut = depth(len(ours.samples), len(theirs.samples), error)
        if cut == 0:
            raise Problem(
                f"{name}: {len(theirs.samples)} and {len(ours.samples)} samples are too few for this confidence with"
                f" {len(names)} benchmarks: measure more rounds (8 are enough for up to 50 benchmarks)"
            )
        comparisons.append(
            Comparison(
                name,
                ours.unit,
                statistics.median(theirs.samples),
                statistics.median(ours.samples),
                statistics.median(pairs),
                pairs[cut - 1],
                pairs[-cut],
            )
        )
    return comparisons


def sign_depth(count: int, error: float) -> int:
    """Like `depth`, for the ratios of pairs: how many lie below their median is like heads of a coin."""
    likely = 0.0
    for cut in range(count):
        likely += math.comb(count, cut) / 2**count
        if likely > error:
            return cut
    return count


def compare_pairs(base: dict[str, Benchmark], head: dict[str, Benchmark], margin: float) -> list[Comparison]:
    """Compares benchmarks whose samples are pairs: one of each side for each round. The margin holds for
    `together`."""
    worse = {
        name: [
            ratio(h, b) if ours.better == "lower" else ratio(b, h)
            for b, h in zip(base[name].samples, ours.samples, strict=True)
        ]
        for name, ours in head.items()
    }
    worse["together"] = [statistics.geometric_mean(each) for each in zip(*worse.values(), strict=True)]
    comparisons = []
    for name, ratios in worse.items():
        cut = sign_depth(len(ratios), (1 - CONFIDENCE) / 2)
        if cut == 0:
            raise Problem(f"{len(ratios)} rounds are too few for this confidence: measure 8 or more")
        ratios.sort()
        medians = [statistics.median(side[name].samples) if name in side else math.nan for side in (base, head)]
        unit = head[name].unit if name in head else ""
        judged = margin if name == "together" else None
        comparisons.append(
            Comparison(name, unit, *medians, statistics.median(ratios), ratios[cut - 1], ratios[-cut], judged)
        )
    return comparisons


def ratio(one: float, other: float) -> float:
    """One amount over another. An idle stack can cost nothing at all: 0 over 0 is 1, and more over 0 is infinite."""
    if other == 0:
        return 1.0 if one == 0 else math.inf
    return one / other


def unpaired(base: dict[str, Benchmark], head: dict[str, Benchmark]) -> list[str]:
    gone = [f"{name}: only in base" for name in base if name not in head]
    return gone + [f"{name}: only in head" for name in head if name not in base]


def judge(base: dict[str, Benchmark], head: dict[str, Benchmark]) -> int:
    code = judge_comparisons(compare(base, head), MARGIN, "for all benchmarks together", "of Mann and Whitney")
    for line in unpaired(base, head):
        report.show(f"Not compared: {line}.")
    return code


def amounts(comparison: Comparison) -> list[str]:
    """Base and head. `together` has none."""
    return ["" if math.isnan(amount) else f"{amount:.4g}" for amount in (comparison.base, comparison.head)]


def judge_comparisons(comparisons: list[Comparison], margin: float, covers: str, test: str) -> int:
    rows = [
        (c.name, *amounts(c), c.unit, f"{c.worse:.3f}", f"{c.low:.3f} to {c.high:.3f}", c.verdict)
        for c in comparisons
    ]
    report.show(report.table(("benchmark", "base", "head", "unit", "ratio", "interval", "verdict"), rows))
    report.show(
        f"Ratio: above 1, head is worse. Interval: {CONFIDENCE:.0%} {covers}, by the exact test {test}."
        f" Regression: the whole interval is above {1 + margin:g}.\n"
    )
    return 1 if any(comparison.verdict == "regression" for comparison in comparisons) else 0


def merge(runs: list[dict[str, Benchmark]]) -> dict[str, Benchmark]:
    """Merges several runs into one result. Each run gives one sample per benchmark, the median of its own samples,
    because the samples of one run are not independent of each other."""
    names = {name: benchmark for one in runs for name, benchmark in one.items()}
    return {
        name: Benchmark(
            name, first.unit, first.better, [statistics.median(one[name].samples) for one in runs if name in one]
        )
        for name, first in names.items()
    }


def run(command: list[str], folder: Path, capture: bool = False, **options: Any) -> str:
    done = report.command(
        command, cwd=folder, stdout=subprocess.PIPE if capture else sys.stderr, stderr=None, **options
    )
    if done.returncode != 0:
        raise Problem(f"`{' '.join(command)}` in {folder} failed with exit code {done.returncode}: see above")
    return done.stdout or ""


def build(source: Path, target: Path, profile: str, binary: Path) -> None:
    """Builds the CLI of a tree. Both trees use one target folder, so that shared dependencies are built once. It does
    not use --package, which would build dependencies with other features than the rest of the workspace needs."""
    run(
        ["cargo", "build", "--locked", "--bin", "tasker-cli", "--profile", profile, "--target-dir", str(target)],
        source,
    )
    # The final name appears only when the file is complete.
    part = binary.with_name(binary.name + ".part")
    shutil.copy2(target / ("debug" if profile == "dev" else profile) / "tasker-cli", part)
    part.rename(binary)


def can_measure(binary: Path) -> bool:
    return report.command([str(binary), "bench", "--help"]).returncode == 0


def git(*arguments: str) -> str:
    return run(["git", *arguments], ROOT, capture=True).strip()


def commit_binary(revision: str, profile: str) -> Path:
    """Returns the CLI of a commit. It is kept, because the head of this comparison is the base of the next one."""
    commit = git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    compiler = run(["rustc", "--version"], ROOT, capture=True).split()[1]
    binary = KEPT / f"{commit}-{profile}-{compiler}"
    if binary.exists():
        return binary
    if commit == git("rev-parse", "HEAD") and not git("status", "--porcelain"):
        # Here cargo reuses what was already built.
        build(ROOT, TARGET, profile, binary)
    else:
        with tempfile.TemporaryDirectory(prefix="tasker-benchmark-") as name:
            tree = Path(name, "tree")
            git("worktree", "add", "--quiet", "--detach", str(tree), commit)
            try:
                build(tree, TARGET, profile, binary)
            finally:
                git("worktree", "remove", "--force", str(tree))
    return binary


def against(revision: str, rounds: int, profile: str, results: Path, more: list[str]) -> int:
    results.mkdir(parents=True, exist_ok=True)
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tasker-benchmark-") as name:
        folder = Path(name)
        binaries = {"base": commit_binary(revision, profile)}
        if git("status", "--porcelain"):
            binaries["head"] = folder / "head"
            build(ROOT, TARGET, profile, binaries["head"])
        else:
            binaries["head"] = commit_binary("HEAD", profile)
        for old in set(KEPT.iterdir()) - set(binaries.values()):
            old.unlink()
        if not can_measure(binaries["head"]):
            raise Problem("this tree's tasker-cli has no `bench`")
        if not can_measure(binaries["base"]):
            report.show(f"Nothing to compare with: tasker-cli of {revision} has no `bench`.")
            return 0
        runs: dict[str, list[dict[str, Benchmark]]] = {"base": [], "head": []}
        for number in range(rounds):
            # The side that goes first alternates.
            for side in ("base", "head") if number % 2 == 0 else ("head", "base"):
                print(f"round {number + 1} of {rounds}: {side}", file=sys.stderr, flush=True)
                text = run([str(binaries[side]), "bench", "--json", *more], folder, capture=True)
                runs[side].append(parse(text, f"{side}: tasker-cli bench --json"))
    merged = {side: merge(each) for side, each in runs.items()}
    for side, result in merged.items():
        content = {"benchmarks": [vars(benchmark) for benchmark in result.values()]}
        (results / f"{side}.json").write_text(json.dumps(content, indent=2) + "\n")
    return judge(merged["base"], merged["head"])


class Sink(http.server.BaseHTTPRequestHandler):
    """Takes traces, and forgets them."""

    received = 0

    def do_POST(self) -> None:
        Sink.received += len(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def sink() -> Iterator[dict[str, str]]:
    """Runs a sink. Gives the variables that make a program send traces to it."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield {
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
                "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": str(SAMPLED),
            }
        finally:
            server.shutdown()


def measured(binary: Path, more: list[str], variables: dict[str, str]) -> dict[str, Benchmark]:
    with tempfile.TemporaryDirectory(prefix="tasker-benchmark-") as folder:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        line = [str(binary), "bench", "--json", *more]
        text = run(line, Path(folder), capture=True, env=plain | variables)
    return parse(text, "tasker-cli bench --json")


def cost(what: str, binary: Path, rounds: int, more: list[str]) -> int:
    if what == "watchers":
        options = ["--samples", "10", "--idle", "1", "--rounds", str(rounds), "--watchers", str(WATCHERS), *more]
        found = measured(binary, options, {})
        # Creations are many for each round, and no pairs.
        head = {
            name.removeprefix("watched "): benchmark
            for name, benchmark in found.items()
            if name.startswith("watched ") and benchmark.better == "higher"
        }
        base = {name: found[name] for name in head}
    else:
        runs: dict[str, list[dict[str, Benchmark]]] = {"base": [], "head": []}
        options = ["--samples", "100", "--idle", "1", "--rounds", "1", *more]
        with sink() as variables:
            for number in range(rounds):
                for side in ("base", "head") if number % 2 == 0 else ("head", "base"):
                    print(f"round {number + 1} of {rounds}: {side}", file=sys.stderr, flush=True)
                    runs[side].append(measured(binary, options, variables if side == "head" else {}))
        if Sink.received == 0:
            raise Problem("no trace arrived: does this tasker-cli read OTEL_EXPORTER_OTLP_ENDPOINT?")
        merged = [merge(runs[side]) for side in ("base", "head")]
        base, head = ({name: side[name] for name in TRACED if name in side} for side in merged)
    return judge_comparisons(compare_pairs(base, head, BUDGETS[what]), BUDGETS[what], "for each row", "of signs")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    other = commands.add_parser("against", help="build, measure and compare with a revision")
    other.add_argument("revision")
    other.add_argument("--rounds", type=int, default=10, help="runs of each side (default: 10, at least 8)")
    other.add_argument("--profile", default="release", help="cargo's profile (default: release)")
    other.add_argument(
        "--results",
        type=Path,
        default=ROOT / "target" / "benchmark-results",
        metavar="FOLDER",
        help="where base.json and head.json go (default: target/benchmark-results)",
    )
    two = commands.add_parser("compare", help="compare two results, each with 8 samples or more of every benchmark")
    two.add_argument("base")
    two.add_argument("head")
    costs = commands.add_parser("cost", help="measure what watchers or tracing cost")
    costs.add_argument("what", choices=sorted(BUDGETS))
    costs.add_argument("--rounds", type=int, default=20, help="pairs of measurements (default: 20, at least 8)")
    costs.add_argument("--binary", type=Path, help="this tasker-cli, instead of a new build of this tree")
    # The words after -- are for `tasker-cli bench`.
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    more = sys.argv[end + 1 :]
    arguments = parser.parse_args(sys.argv[1:end])

    if arguments.command == "compare":
        return judge(
            parse(report.read(arguments.base), arguments.base), parse(report.read(arguments.head), arguments.head)
        )
    # Fewer samples cannot reach the confidence.
    if arguments.rounds < 8:
        raise Problem(f"{arguments.rounds} rounds are too few: use 8 or more")
    if arguments.command == "cost":
        binary = arguments.binary
        if binary is None:
            run(["cargo", "build", "--locked", "--release", "--bin", "tasker-cli"], ROOT)
            binary = TARGET / "release" / "tasker-cli"
        return cost(arguments.what, binary.absolute(), arguments.rounds, more)
    return against(arguments.revision, arguments.rounds, arguments.profile, arguments.results, more)


if __name__ == "__main__":
    report.run(main)
