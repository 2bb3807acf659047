# The TypeScript library `@tasker-systems/tasker`: an npm package with its native module, made by the CLI of napi-rs from
# a cargo workspace of its own.
{
  lib,
  makeRustPlatform,
  nodeModules,
  nodejs_24,
  stdenv,
  toolchain,
  workspace,
}:
let
  rustPlatform = makeRustPlatform {
    cargo = toolchain;
    rustc = toolchain;
  };

  modules = nodeModules {
    name = "tasker-ts";
    folder = ../bindings/typescript;
    outputHash = "sha256-V5YXx6CSqFtxWpFiLL/GUY9BV7q6z2WLUoPFaouTdwY=";
  };
in
{
  tasker-ts = stdenv.mkDerivation {
    pname = "tasker-ts";
    inherit (workspace.commonArgs) version;

    src = workspace.sourcesAnd [ ../bindings/typescript ];
    sourceRoot = "source/bindings/typescript";
    cargoDeps = rustPlatform.importCargoLock { lockFile = ../bindings/typescript/Cargo.lock; };
    nativeBuildInputs = [
      nodejs_24
      rustPlatform.cargoSetupHook
      toolchain
    ];

    buildPhase = ''
      runHook preBuild
      ln -s ${modules}/node_modules .
      napi() { node node_modules/@napi-rs/cli/dist/cli.js "$@"; }
      napi build --platform --release --output-dir native --js index.js --dts index.d.ts
      node node_modules/typescript/bin/tsc --project src
      runHook postBuild
    '';
    # scripts/test-typescript runs the tests, which need a server.
    doCheck = false;
    installPhase = ''
      runHook preInstall
      package=$out/lib/node_modules/@tasker-systems/tasker
      mkdir -p $package/native $package/node_modules/@standard-schema
      cp -r package.json README.md dist $package
      cp native/index.* native/*.node $package/native
      cp -r node_modules/lossless-json $package/node_modules
      cp -r node_modules/@standard-schema/spec $package/node_modules/@standard-schema
      runHook postInstall
    '';
    doInstallCheck = true;
    installCheckPhase = ''
      node --eval 'require(process.argv[1])' $out/lib/node_modules/@tasker-systems/tasker
    '';

    meta = {
      description = "Workers for Tasker in TypeScript";
      license = lib.licenses.mit;
    };
  };
}
