# `nix develop`: the tools for work on Tasker, among them those that the checks use.
{
  actionlint,
  callPackage,
  cargo-deny,
  cargo-machete,
  cargo-nextest,
  deadnix,
  formatter,
  lib,
  mkShell,
  nixfmt,
  nodejs_24,
  postgresql,
  process-compose,
  prometheus ? null,
  python3,
  shellcheck,
  sqlx-cli,
  statix,
  taplo,
  valkey,
  zizmor,
}:
mkShell {
  packages = [
    actionlint
    cargo-deny
    cargo-machete
    cargo-nextest
    deadnix
    formatter
    nixfmt
    nodejs_24
    postgresql
    process-compose
    # scipy: for ci/benchmark.py.
    (python3.withPackages (python: [ python.scipy ]))
    shellcheck
    sqlx-cli
    statix
    taplo
    (callPackage ./toolchain.nix { })
    valkey
    zizmor
  ]
  ++ lib.optional (prometheus != null) prometheus.cli;

  TASKER_PG_BIN = "${lib.getBin postgresql}/bin";

  # Standard output belongs to the command: `nix develop --command cargo metadata | jq`.
  shellHook = ''
    cat >&2 <<END
    cargo nextest run     runs all tests; each starts the PostgreSQL that it needs
    scripts/integration   runs the integration suite against the stack of process-compose.yaml
    nix flake check       runs what CI runs
    nix fmt               formats
    END
  '';
}
