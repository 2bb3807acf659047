# The TypeScript library `@tasker-systems/tasker`: an npm package with its native module, made by the CLI of napi-rs from
# a cargo workspace of its own.
{
  cacert,
  lib,
  makeRustPlatform,
  nodejs_24,
  stdenv,
  stdenvNoCC,
  toolchain,
  workspace,
}:
let
  rustPlatform = makeRustPlatform {
    cargo = toolchain;
    rustc = toolchain;
  };

  # What package-lock.json names, which has a checksum for each package but no addresses. The hash changes with it.
  nodeModules = stdenvNoCC.mkDerivation {
    name = "tasker-ts-node-modules";
    src = lib.fileset.toSource {
      root = ../bindings/typescript;
      fileset = lib.fileset.unions [
        ../bindings/typescript/package.json
        ../bindings/typescript/package-lock.json
      ];
    };
    nativeBuildInputs = [
      cacert
      nodejs_24
    ];
    # Optional packages for one platform, so that the hash is the same on all.
    buildPhase = ''
      HOME=$TMPDIR npm ci --ignore-scripts --no-audit --no-fund --os=linux --cpu=x64 --libc=glibc
      rm node_modules/.package-lock.json
    '';
    installPhase = "cp -r node_modules $out";
    dontFixup = true;
    outputHashMode = "recursive";
    outputHash = "sha256-AUPWG+FyPvgoQa+j3KLe9ELAU5aa+65Yk3QgdqjiYf8=";
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
      cp -r --no-preserve=mode ${nodeModules} node_modules
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
