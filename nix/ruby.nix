# The Ruby library `tasker-rb`: a gem for this platform, with the native part for this package set's Ruby.
{
  lib,
  llvmPackages ? { },
  makeRustPlatform,
  ruby,
  stdenv,
  toolchain,
  workspace,
}:
let
  rustPlatform = makeRustPlatform {
    cargo = toolchain;
    rustc = toolchain;
  };
in
# A package set that only checks the flake may lack libclang, which reads Ruby's headers.
lib.optionalAttrs (llvmPackages ? libclang) {
  tasker-rb = stdenv.mkDerivation {
    pname = "tasker-rb";
    inherit (workspace.commonArgs) version;

    src = workspace.sourcesAnd [ ../bindings/ruby ];
    cargoRoot = "bindings/ruby";
    cargoDeps = rustPlatform.importCargoLock { lockFile = ../bindings/ruby/Cargo.lock; };

    strictDeps = true;
    nativeBuildInputs = [
      ruby
      rustPlatform.bindgenHook
      rustPlatform.cargoSetupHook
      toolchain
    ];

    buildPhase = ''
      runHook preBuild
      cd bindings/ruby
      PROFILE=release rake compile
      gem build --strict --output tasker-rb.gem tasker-rb.gemspec
      runHook postBuild
    '';
    installPhase = ''
      runHook preInstall
      # Ruby has the dependencies.
      gem install --local --ignore-dependencies --no-document --install-dir $out/${ruby.gemPath} tasker-rb.gem
      runHook postInstall
    '';

    # scripts/test-ruby runs the tests, which need a server.
    doInstallCheck = true;
    installCheckPhase = ''
      GEM_PATH=$out/${ruby.gemPath} ruby -e 'require "tasker"; Tasker::NativeWorker'
    '';

    meta = {
      description = "Workers for Tasker in Ruby";
      license = lib.licenses.mit;
    };
  };
}
