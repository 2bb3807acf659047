# The TypeScript library `@tasker-systems/tasker`: an npm package with its native module, made by the CLI of napi-rs from
# a cargo workspace of its own.
{
  buildNpmPackage ? null,
  importNpmLock ? null,
  lib,
  makeRustPlatform,
  toolchain,
  workspace,
}:
let
  rustPlatform = makeRustPlatform {
    cargo = toolchain;
    rustc = toolchain;
  };
in
# A package set that only checks the flake may have no builder of npm packages.
lib.optionalAttrs (buildNpmPackage != null) {
  tasker-ts = buildNpmPackage {
    pname = "tasker-ts";
    inherit (workspace.commonArgs) version;

    src = workspace.sourcesAnd [ ../bindings/typescript ];
    sourceRoot = "source/bindings/typescript";
    cargoDeps = rustPlatform.importCargoLock { lockFile = ../bindings/typescript/Cargo.lock; };
    npmDeps = importNpmLock { npmRoot = ../bindings/typescript; };
    inherit (importNpmLock) npmConfigHook;

    nativeBuildInputs = [
      rustPlatform.cargoSetupHook
      toolchain
    ];

    # scripts/test-typescript runs the tests, which need a server.
    doInstallCheck = true;
    installCheckPhase = ''
      node --eval 'require("./")'
    '';

    meta = {
      description = "Workers for Tasker in TypeScript";
      license = lib.licenses.mit;
    };
  };
}
