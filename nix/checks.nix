# The checks of `nix flake check`. One alone: `nix build .#checks.x86_64-linux.clippy`.
{
  actionlint,
  cargo-machete,
  chromium ? null,
  craneLib,
  deadnix,
  dejavu_fonts ? null,
  formatter,
  lib,
  makeFontsConf ? null,
  nodeModules,
  nodejs_24,
  postgresql,
  prometheus ? null,
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

  # A command of the console's package.json, with the packages of its lock file.
  ui =
    name: nativeBuildInputs: command:
    lint name ([ nodejs_24 ] ++ nativeBuildInputs)
      [
        ../ui
        ../crates/tasker-orchestration/ui
      ]
      ''
        cp -r ${
          nodeModules {
            name = "tasker-console";
            folder = ../ui;
            outputHash = "sha256-2DwmebGQ+BxrQre1Ql9zk/mfdt0GDa+TE3tab4HiBt8=";
          }
        }/node_modules ui
        chmod -R u+w ui/node_modules
        patchShebangs ui/node_modules
        ${command}'';
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

  scripts =
    lint "scripts"
      [ shellcheck ]
      [
        ../.ci
        ../scripts
      ]
      "shellcheck .ci/run scripts/*";

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
# A package set that only checks the flake may lack Prometheus or Chromium.
// lib.optionalAttrs (prometheus != null) {
  monitoring =
    lint "monitoring"
      [ prometheus.cli ]
      [
        ../deploy/monitoring
      ]
      "promtool check rules deploy/monitoring/alerts.yaml; promtool test rules deploy/monitoring/alerts_test.yaml";
}
# The packages for one platform hold the bundler's program for that platform.
// lib.optionalAttrs (stdenv.hostPlatform.system == "x86_64-linux") {
  console = ui "console" [ ] "npm run --prefix ui check";
}
// lib.optionalAttrs (stdenv.hostPlatform.system == "x86_64-linux" && chromium != null) {
  browser = ui "browser" [ chromium ] ''
    export TASKER_BIN_DIR=${workspace.binaries}/bin TASKER_PG_BIN=${lib.getBin postgresql}/bin
    export FONTCONFIG_FILE=${makeFontsConf { fontDirectories = [ dejavu_fonts ]; }}
    npm test --prefix ui'';
}
