# The Cargo workspace: its sources, its dependencies, and the release binaries.
{
  craneLib,
  lib,
}:
let
  inherit (lib) fileset;
  cargoToml = lib.importTOML ../Cargo.toml;

  # The crates: code, migrations, SQL functions, templates.
  crates = fileset.unions [
    ../Cargo.toml
    ../Cargo.lock
    (fileset.fileFilter (file: !file.hasExt "md") ../crates)
  ];
  # What cargo sees. Of the documents, only the one that a test reads. tasker-cli embeds the starters.
  sources = fileset.unions [
    crates
    ../config
    ../deploy/monitoring/alerts.yaml
    ../deploy/monitoring/dashboard.json
    ../docs/limits.md
    ../starters
  ];
  sourcesAnd =
    more:
    fileset.toSource {
      root = ../.;
      fileset = fileset.unions ([ sources ] ++ more);
    };

  commonArgs = {
    pname = "tasker";
    inherit (cargoToml.workspace.package) version;
    src = sourcesAnd [ ];
    strictDeps = true;
  };

  # The dependencies, of which only Cargo.toml files and Cargo.lock matter, but no Cargo.toml of a starter. For each kind
  # of use: what ships ...
  depsArgs = commonArgs // {
    src = fileset.toSource {
      root = ../.;
      fileset = crates;
    };
  };
  releaseArtifacts = craneLib.buildDepsOnly (
    depsArgs
    // {
      pname = "tasker-release";
      buildPhaseCargoCommand = "cargo build --locked --workspace --bins --release";
      doCheck = false;
    }
  );
  # ... and what checks and tests.
  devArtifacts = craneLib.buildDepsOnly (
    depsArgs
    // {
      pname = "tasker-dev";
      buildPhaseCargoCommand = ''
        cargo check --locked --workspace
        cargo check --locked --workspace --all-targets
      '';
      checkPhaseCargoCommand = "cargo test --locked --workspace --no-run";
    }
  );

  binaries = craneLib.buildPackage (
    commonArgs
    // {
      cargoArtifacts = releaseArtifacts;
      cargoExtraArgs = "--locked --workspace --bins";
      # The checks run the tests.
      doCheck = false;
      meta.mainProgram = "tasker-cli";
    }
  );
in
{
  inherit
    binaries
    commonArgs
    devArtifacts
    sourcesAnd
    ;
}
