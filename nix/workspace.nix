# The Cargo workspace: its sources, its dependencies, and the release binaries.
{
  craneLib,
  lib,
}:
let
  inherit (lib) fileset;
  cargoToml = lib.importTOML ../Cargo.toml;

  # What cargo sees: code, migrations, SQL functions, templates. Of other files, only those that a test reads.
  sources = fileset.unions [
    ../Cargo.toml
    ../Cargo.lock
    ../config
    ../deploy/monitoring/alerts.yaml
    ../deploy/monitoring/dashboard.json
    ../docs/limits.md
    (fileset.fileFilter (file: !file.hasExt "md") ../crates)
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

  # The dependencies, of which only Cargo.toml files and Cargo.lock matter, for each kind of use: what ships ...
  releaseArtifacts = craneLib.buildDepsOnly (
    commonArgs
    // {
      pname = "tasker-release";
      buildPhaseCargoCommand = "cargo build --locked --workspace --bins --release";
      doCheck = false;
    }
  );
  # ... and what checks and tests.
  devArtifacts = craneLib.buildDepsOnly (
    commonArgs
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
