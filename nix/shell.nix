# `nix develop`: what work on Tasker needs, and what the checks use.
{
  actionlint,
  cargo-deny,
  cargo-machete,
  cargo-nextest,
  deadnix,
  formatter,
  lib,
  mkShell,
  nixfmt,
  postgresql,
  process-compose,
  shellcheck,
  sqlx-cli,
  statix,
  taplo,
  toolchain,
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
    postgresql
    process-compose
    shellcheck
    sqlx-cli
    statix
    taplo
    toolchain
    zizmor
  ];

  TASKER_PG_BIN = "${lib.getBin postgresql}/bin";

  # Not on standard output, which may be a program's: `nix develop --command cargo metadata | jq`.
  shellHook = ''
    cat >&2 <<END
    cargo nextest run     all tests, on PostgreSQL servers of their own
    scripts/integration   the stack of process-compose.yaml with the integration suite
    nix flake check       what CI runs;  nix fmt formats
    END
  '';
}
