# The checks of `nix flake check`. One alone: `nix build .#checks.x86_64-linux.clippy`.
{
  actionlint,
  cargo-machete,
  craneLib,
  deadnix,
  formatter,
  lib,
  runCommand,
  shellcheck,
  statix,
  stdenv,
  tests,
  workspace,
  zizmor,
}:
let
  cargo = workspace.commonArgs // {
    cargoArtifacts = workspace.devArtifacts;
    CARGO_PROFILE = "dev";
    cargoExtraArgs = "--locked --workspace";
    doInstallCargoArtifacts = false;
  };

  # Runs linters on a copy of the files. The commands are separated by `;`, because a failure before `&&` would pass.
  lint =
    name: nativeBuildInputs: files: command:
    runCommand "tasker-${name}" {
      inherit nativeBuildInputs;
      src = lib.fileset.toSource {
        root = ../.;
        fileset = lib.fileset.unions files;
      };
    } "cp -r $src tasker; chmod -R u+w tasker; cd tasker; export HOME=$PWD; ${command}; touch $out";

  nixFiles = [
    ../deploy
    ../flake.nix
    ../nix
  ];
  tomlFiles = lib.fileset.fileFilter (file: file.hasExt "toml") ../.;
  rustFiles = lib.fileset.fileFilter (file: file.hasExt "rs");
in
{
  fmt = lint "fmt" [ formatter ] (
    nixFiles
    ++ [
      tomlFiles
      (rustFiles ../crates)
      (rustFiles ../fuzz)
    ]
  ) "tasker-fmt --check";

  clippy = craneLib.cargoClippy (
    cargo
    // {
      src = workspace.sourcesAnd [ ../clippy.toml ];
      cargoClippyExtraArgs = "--all-targets -- --deny warnings";
    }
  );

  doc = craneLib.cargoDoc (cargo // { env.RUSTDOCFLAGS = "--deny warnings"; });

  doctest = craneLib.cargoDocTest cargo;

  deny = craneLib.cargoDeny (
    workspace.commonArgs // { src = workspace.sourcesAnd [ ../deny.toml ]; }
  );

  # With metadata, because the name of a library can differ from the name of its package.
  unused-dependencies = craneLib.mkCargoDerivation (
    workspace.commonArgs
    // {
      pnameSuffix = "-unused-dependencies";
      cargoArtifacts = null;
      doInstallCargoArtifacts = false;
      nativeBuildInputs = [ cargo-machete ];
      buildPhaseCargoCommand = "cargo machete --with-metadata crates";
    }
  );

  workflows =
    lint "workflows"
      [
        actionlint
        zizmor
      ]
      [
        ../.github
        ../starters
      ]
      ''
        actionlint .github/workflows/*.yml starters/*/.github/workflows/*.yml
        zizmor --offline --pedantic .github starters'';

  scripts = lint "scripts" [ shellcheck ] [
    ../.ci
    ../scripts
  ] "shellcheck .ci/run scripts/*";

  nix = lint "nix" [
    deadnix
    statix
  ] nixFiles "deadnix --fail .; statix check .";
}
# Both start PostgreSQL in the build's sandbox.
// lib.optionalAttrs stdenv.hostPlatform.isLinux {
  nextest = tests.run "unit";
  integration = tests.run "integration";
}
