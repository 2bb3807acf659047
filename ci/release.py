"""The steps of a release that are not builds.

    python3 ci/release.py check --tag v0.1.0          checks that tag and workspace match, and the order of the crates
    python3 ci/release.py order                       lists the crates, each after its dependencies
    python3 ci/release.py publish --dry-run           packs and builds what `publish` would upload
    python3 ci/release.py upload ruby packages/ruby   uploads packages that scripts/package has made, also typescript
    python3 ci/release.py pack target/release dist    makes an archive of the binaries, and its checksum
    python3 ci/release.py push worker a.tar.gz ...    pushes an image by digest, from one archive per system

After a failure, run `publish`, `upload` or `push` again. They skip what is already published.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import platform
import re
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import report
from report import Problem

ROOT = Path(__file__).parent.parent
BINARIES = ["tasker-cli", "tasker-server", "rust-worker"]
# Where the libraries for other languages say their version. The wheel has that of its Cargo.toml.
VERSIONS = {
    "bindings/python/Cargo.toml": r'^version = "(.+)"$',
    "bindings/ruby/Cargo.toml": r'^version = "(.+)"$',
    "bindings/ruby/lib/tasker/version.rb": r"VERSION = '(.+)'$",
    "bindings/typescript/Cargo.toml": r'^version = "(.+)"$',
    "bindings/typescript/package.json": r'^  "version": "(.+)",$',
}
# How the packages of a library are uploaded: the command, the files, and what the registry says of a known version.
UPLOADS = {
    "ruby": (["gem", "push"], "*.gem", "Repushing of gem versions is not allowed"),
    "typescript": (["npm", "publish", "--access", "public"], "*.tgz", "cannot publish over the previously published"),
}


@dataclass
class Crate:
    name: str
    version: str
    # Dependencies within the workspace, including dev-dependencies: cargo resolves them all when it packs a crate. It drops
    # dev-dependencies without a version.
    needs: list[str]
    published: bool


def needed(dependency: Any) -> bool:
    """Whether a dependency must be published before its crate."""
    dropped = dependency.get("kind") == "dev" and dependency.get("req") == "*"
    return bool(dependency.get("path")) and not dropped


def parse(metadata: Any) -> list[Crate]:
    """Parses the output of `cargo metadata --no-deps`."""
    try:
        crates = [
            Crate(
                package["name"],
                package["version"],
                sorted({dependency["name"] for dependency in package["dependencies"] if needed(dependency)}),
                package["publish"] != [],
            )
            for package in metadata["packages"]
        ]
        if not all(isinstance(word, str) for crate in crates for word in (crate.name, crate.version, *crate.needs)):
            raise TypeError("a name or a version is not a string")
    except (LookupError, TypeError, AttributeError) as error:
        raise Problem(f"unexpected output of `cargo metadata`: {error!r}") from error
    if not crates:
        raise Problem("`cargo metadata` lists no crates")
    return crates


def order(crates: list[Crate]) -> list[Crate]:
    """Sorts the published crates: each after its dependencies, otherwise by name."""
    by_name = {crate.name: crate for crate in crates if crate.published}
    for crate in by_name.values():
        if missing := [name for name in crate.needs if name not in by_name]:
            raise Problem(f"{crate.name} is published, but depends on {', '.join(missing)}, which is not")
    sorter = TopologicalSorter({name: crate.needs for name, crate in sorted(by_name.items())})
    try:
        sorter.prepare()
    except CycleError as error:
        raise Problem(f"the crates depend on each other in a cycle: {' → '.join(error.args[1])}") from error
    names: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        sorter.done(*ready)
        names += ready
    return [by_name[name] for name in names]


def check(crates: list[Crate], tag: str | None) -> str:
    """Returns the version that all crates and the tag share."""
    versions = {crate.version for crate in crates}
    if len(versions) != 1:
        raise Problem(f"the crates have different versions: {', '.join(sorted(versions))}")
    (version,) = versions
    if tag is not None and tag != f"v{version}":
        raise Problem(f"tag {tag} does not match version {version} of the workspace: expected tag v{version}")
    return version


def check_libraries(version: str) -> None:
    """Rejects libraries for other languages that have another version than the crates."""
    for path, pattern in VERSIONS.items():
        found = re.search(pattern, report.read(str(ROOT / path)), re.MULTILINE)
        if found is None or found[1] != version:
            raise Problem(f"{path}: the version is {found and found[1]}, but the crates have {version}")


def run(command: list[str], accept: str | None = None, **options: Any) -> str:
    """Returns the output of a command. `accept`: text in the output that marks a failure as success."""
    done = report.command(command, cwd=ROOT, **options)
    if done.returncode != 0 and not (accept and accept in done.stderr + (done.stdout or "")):
        raise Problem(f"`{' '.join(command)}` failed with exit code {done.returncode}:\n{done.stderr.strip()}")
    if done.stderr.strip():
        print(done.stderr.strip(), file=sys.stderr)
    return done.stdout


def publish(crates: list[Crate], dry: bool) -> None:
    if dry:
        # Cargo packs and builds all crates, each against the packages of the others.
        run(["cargo", "publish", "--workspace", "--locked", "--dry-run"])
        return
    for crate in order(crates):
        # Cargo waits until the crate is available in the registry.
        run(["cargo", "publish", "--locked", "--package", crate.name], accept="already exists")
        print(f"{crate.name} {crate.version} is published")


def upload(language: str, folder: Path) -> None:
    """Uploads the packages of a library in a folder. A package comes after those for its platforms, which it names."""
    command, pattern, known = UPLOADS[language]
    packages = sorted(folder.resolve().glob(pattern), key=lambda path: (-len(path.name), path.name))
    if not packages:
        raise Problem(f"{folder} has no {pattern}: build it with scripts/package {language} {folder}")
    for package in packages:
        run([*command, str(package)], accept=known)
        print(f"{package.name} is published")


def system() -> str:
    """Returns the system of this machine, as the flake names it."""
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    return f"{machine}-{platform.system().lower()}"


def pack(binaries: Path, folder: Path, version: str) -> Path:
    """Packs the binaries into a reproducible archive, and writes its checksum beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"tasker-{version}-{system()}"
    archive = folder / f"{name}.tar.gz"
    # The final name appears only when the archive is complete.
    part = folder / f"{name}.part"
    try:
        with (
            part.open("wb") as file,
            gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            for binary in BINARIES:
                try:
                    content = (binaries / binary).open("rb")
                except OSError as error:
                    raise Problem(
                        f"{binaries / binary}: {error.strerror}; build it: cargo build --release --bins"
                    ) from error
                with content:
                    entry = tarfile.TarInfo(f"{name}/{binary}")
                    entry.size, entry.mode = (binaries / binary).stat().st_size, 0o755
                    tar.addfile(entry, content)
        checksum = hashlib.sha256(part.read_bytes()).hexdigest()
        part.replace(archive)
    finally:
        part.unlink(missing_ok=True)
    report.write(f"{archive}.sha256", f"{checksum}  {archive.name}\n")
    return archive


def push(image: str, archives: list[str], registry: str, version: str) -> str:
    """Pushes the archives of an image, and their index with the tag of the version. Returns the index's digest."""
    name = f"{registry.lower()}/tasker-{image}"
    digests = []
    with tempfile.TemporaryDirectory() as folder:
        for number, archive in enumerate(archives):
            written = Path(folder, str(number))
            # Each system has a tag, because registries delete images without one.
            run(
                [
                    "skopeo",
                    "copy",
                    "--digestfile",
                    str(written),
                    f"docker-archive:{archive}",
                    f"docker://{name}:{version}-{number}",
                ]
            )
            digests.append(_digest(report.read(str(written)) if written.exists() else ""))
        run(
            [
                "docker",
                "buildx",
                "imagetools",
                "create",
                "--tag",
                f"{name}:{version}",
                *(f"{name}@{digest}" for digest in digests),
            ]
        )
        # The digest covers every byte, so the index must not be decoded as text.
        raw = Path(folder, "index")
        with raw.open("wb") as file:
            run(["skopeo", "inspect", "--raw", f"docker://{name}:{version}"], stdout=file)
        index = "sha256:" + hashlib.sha256(raw.read_bytes()).hexdigest()
        _check_index(report.read(str(raw)), digests, f"{name}:{version}")
    report.output("name", name)
    report.output("digest", index)
    print(f"{name}@{index}")
    return index


def _check_index(text: str, digests: list[str], source: str) -> None:
    """Rejects an index that does not list these images."""
    try:
        found = [manifest["digest"] for manifest in report.parse_json(text, source)["manifests"]]
    except (LookupError, TypeError) as error:
        raise Problem(f"{source}: is not an index of images: {error!r}") from error
    if missing := [digest for digest in digests if digest not in found]:
        raise Problem(f"{source}: the index does not list {', '.join(missing)}, which was pushed")


def _digest(text: str) -> str:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", text.strip()):
        raise Problem(f"skopeo wrote {text!r} instead of a digest")
    return text.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="check the versions and the order of the crates").add_argument(
        "--tag", help="the tag of the release: v and the version"
    )
    commands.add_parser("order", help="list the crates in the order of publication")
    commands.add_parser("publish", help="publish the crates").add_argument(
        "--dry-run", action="store_true", help="upload nothing"
    )
    uploading = commands.add_parser("upload", help="upload the packages of a library for another language")
    uploading.add_argument("language", choices=list(UPLOADS))
    uploading.add_argument("folder", type=Path, help="the folder with the packages")
    packing = commands.add_parser("pack", help="pack the binaries")
    packing.add_argument("binaries", type=Path, help="the folder with the binaries")
    packing.add_argument("folder", type=Path, help="where the archive goes")
    pushing = commands.add_parser("push", help="push an image")
    pushing.add_argument("image", help="the name of the image without tasker-")
    pushing.add_argument("archives", nargs="+", help="one archive per system")
    pushing.add_argument("--to", required=True, metavar="REGISTRY", help="host and owner")
    arguments = parser.parse_args()

    metadata = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    crates = parse(report.parse_json(run(metadata), "`cargo metadata`"))
    version = check(crates, getattr(arguments, "tag", None))
    match arguments.command:
        case "check":
            check_libraries(version)
            print(f"Tasker {version}: {len(order(crates))} crates can be published.")
        case "order":
            print("\n".join(crate.name for crate in order(crates)))
        case "publish":
            publish(crates, arguments.dry_run)
        case "upload":
            upload(arguments.language, arguments.folder)
        case "pack":
            print(pack(arguments.binaries, arguments.folder, version))
        case "push":
            push(arguments.image, arguments.archives, arguments.to, version)
    return 0


if __name__ == "__main__":
    report.run(main)
