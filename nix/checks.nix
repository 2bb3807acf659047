# What `nix flake check` runs. Each is built alone by its name: `nix build .#checks.x86_64-linux.clippy`.
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
    inherit (workspace) cargoArtifacts;
    CARGO_PROFILE = "dev";
    cargoExtraArgs = "--locked --workspace";
    doInstallCargoArtifacts = false;
  };

  # Looks at files with a program, and yields nothing. The commands are parted by `;`: a failure before `&&` ends nothing.
  look =
    name: nativeBuildInputs: files: command:
    runCommand "tasker-${name}" {
      inherit nativeBuildInputs;
      src = workspace.sourcesAnd files;
    } "cp -r $src tasker; chmod -R u+w tasker; cd tasker; export HOME=$PWD; ${command}; touch $out";

  nixFiles = [
    ../flake.nix
    ../nix
  ];
in
{
  fmt = look "fmt" [ formatter ] (
    nixFiles
    ++ [
      ../.config
      ../clippy.toml
      ../deny.toml
      ../rust-toolchain.toml
      ../rustfmt.toml
      ../taplo.toml
      ../fuzz
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

  # With metadata, because a library may have another name than its package.
  unused-dependencies = craneLib.mkCargoDerivation (
    workspace.commonArgs
    // {
      pnameSuffix = "-unused-dependencies";
      cargoArtifacts = null;
      doInstallCargoArtifacts = false;
      nativeBuildInputs = [ cargo-machete ];
      buildPhaseCargoCommand = "cargo machete --with-metadata";
    }
  );

  workflows =
    look "workflows"
      [
        actionlint
        zizmor
      ]
      [ ../.github ]
      "actionlint .github/workflows/*.yml; zizmor --offline --pedantic .github";

  scripts = look "scripts" [ shellcheck ] [ ../scripts ] "shellcheck scripts/*";

  nix = look "nix" [
    deadnix
    statix
  ] nixFiles "deadnix --fail .; statix check .";
}
# Both start PostgreSQL in the build's sandbox.
// lib.optionalAttrs stdenv.hostPlatform.isLinux {
  nextest = tests.run "unit";
  integration = tests.run "integration";
}
