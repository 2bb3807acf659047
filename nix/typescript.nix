# The TypeScript library `@tasker-systems/tasker`: an npm package with its native part, from a cargo workspace of its own.
# The output `sample` is the sample worker.
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

    outputs = [
      "out"
      "sample"
    ];

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
      node build.mjs --release
      node node_modules/typescript/bin/tsc --project src
      node node_modules/typescript/bin/tsc
      runHook postBuild
    '';
    # scripts/test-typescript runs the tests, which need a server.
    doCheck = false;
    installPhase = ''
      runHook preInstall
      package=$out/lib/node_modules/@tasker-systems/tasker
      mkdir -p $package/native $package/node_modules/@standard-schema
      cp -r package.json LICENSE README.md dist $package
      cp native/*.node $package/native
      cp -r node_modules/lossless-json $package/node_modules
      cp -r node_modules/@standard-schema/spec $package/node_modules/@standard-schema
      mkdir -p $sample/node_modules/@tasker-systems
      cp build/sample/*.js $sample
      ln -s $package $sample/node_modules/@tasker-systems
      cp -r node_modules/zod $sample/node_modules
      runHook postInstall
    '';
    doInstallCheck = true;
    installCheckPhase = ''
      node --eval 'require(process.argv[1])' $out/lib/node_modules/@tasker-systems/tasker
      node $sample/worker.js --help
    '';

    meta = {
      description = "Workers for Tasker in TypeScript";
      license = lib.licenses.mit;
    };
  };
}
