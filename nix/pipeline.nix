# `nix run .#ci`: the pipeline of GitHub on this machine, with its tools. Nix itself comes from the PATH.
{
  callPackage,
  gitMinimal,
  python3,
  stdenv,
  writeShellApplication,
}:
writeShellApplication {
  name = "ci";
  meta = {
    description = "Plans the change since main, and runs every job that it needs";
    mainProgram = "ci";
  };
  runtimeInputs = [
    gitMinimal
    # scipy: for ci/benchmark.py.
    (python3.withPackages (python: [ python.scipy ]))
    # Steps without a command for Nix compile with cargo. Coverage needs llvm-tools.
    stdenv.cc
    (callPackage ./toolchain.nix {
      components = [
        "clippy"
        "llvm-tools-preview"
        "rustfmt"
      ];
    })
  ];
  text = ''
    # The work tree of the caller, and not the copy in the store: cargo and Nix build what is there.
    root=$(git rev-parse --show-toplevel)
    if [ ! -f "$root/ci/pipeline.py" ]; then
      echo "ci: there is no ci/pipeline.py in $root: run this in a work tree of Tasker" >&2
      exit 2
    fi
    exec python3 "$root/ci/pipeline.py" "$@"
  '';
}
