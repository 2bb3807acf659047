# The Cargo workspace: its sources, its dependencies built once, and the binaries.
{
  craneLib,
  installShellFiles,
  lib,
  runCommand,
  stdenv,
}:
let
  inherit (lib) fileset;
  cargoToml = lib.importTOML ../Cargo.toml;

  # What cargo sees. A page of documentation is not among it, a migration or a template is.
  sources = fileset.unions [
    ../Cargo.toml
    ../Cargo.lock
    ../config
    (fileset.fileFilter (file: !file.hasExt "md") ../crates)
  ];
  sourcesAnd =
    more:
    fileset.toSource {
      root = ../.;
      fileset = fileset.unions ([ sources ] ++ more);
    };

  # The build script of pgmq says that it depends on files outside of its package. Here they are missing, so cargo would
  # compile it again, and all that depends on it, at every call.
  cargoVendorDir = craneLib.vendorCargoDeps {
    cargoLock = ../Cargo.lock;
    overrideVendorCargoPackage =
      package: vendored:
      if package.name == "pgmq" then
        vendored.overrideAttrs { postPatch = "echo 'fn main() {}' >build.rs"; }
      else
        vendored;
  };

  commonArgs = {
    pname = "tasker";
    inherit (cargoToml.workspace.package) version;
    inherit cargoVendorDir;
    src = sourcesAnd [ ];
    strictDeps = true;
  };

  # Both profiles of all dependencies, in one derivation that everything inherits: `dev` for what checks and tests,
  # `release` for what ships. Only Cargo.toml files and Cargo.lock matter to it.
  cargoArtifacts = craneLib.buildDepsOnly (
    commonArgs
    // {
      buildPhaseCargoCommand = ''
        cargo check --locked --workspace
        cargo check --locked --workspace --all-targets
        cargo build --locked --workspace --bins --release
      '';
      checkPhaseCargoCommand = "cargo test --locked --workspace --no-run";
    }
  );

  binaries = craneLib.buildPackage (
    commonArgs
    // {
      inherit cargoArtifacts;
      cargoExtraArgs = "--locked --workspace --bins";
      # The checks run the tests.
      doCheck = false;
      meta.mainProgram = "tasker-cli";
    }
  );

  # Only what is named, so that an image does not hold the other binaries.
  package =
    name: description: install:
    runCommand "${name}-${commonArgs.version}"
      {
        nativeBuildInputs = [ installShellFiles ];
        meta = {
          inherit description;
          mainProgram = name;
          license = lib.licenses.mit;
        };
      }
      ''
        install -D --target-directory=$out/bin ${binaries}/bin/${name}
        ${install}
      '';

  # A program that cannot run on the machine that builds it cannot print its completions there either.
  completions = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    for shell in bash fish zsh; do $out/bin/tasker-cli completions $shell >tasker-cli.$shell; done
    installShellCompletion --cmd tasker-cli --bash tasker-cli.bash --fish tasker-cli.fish --zsh tasker-cli.zsh
  '';
in
{
  inherit
    binaries
    cargoArtifacts
    commonArgs
    sourcesAnd
    ;

  packages = rec {
    default = tasker-cli;
    tasker-cli = package "tasker-cli" "Operates Tasker, and runs all of it on a laptop" completions;
    tasker-server = package "tasker-server" "Tasker's orchestration server" "";
    rust-worker = package "rust-worker" "Tasker's sample worker" "";
  };
}
