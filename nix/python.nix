# The Python library `tasker`. Its wheel is made by maturin, from a cargo workspace of its own.
{
  lib,
  makeRustPlatform,
  python3Packages,
  toolchain,
  workspace,
}:
let
  rustPlatform = makeRustPlatform {
    cargo = toolchain;
    rustc = toolchain;
  };
in
# A package set that only checks the flake may have no builder of Python packages.
lib.optionalAttrs (python3Packages ? buildPythonPackage) {
  tasker-py = python3Packages.buildPythonPackage {
    pname = "tasker-py";
    inherit (workspace.commonArgs) version;
    pyproject = true;

    src = workspace.sourcesAnd [ ../bindings/python ];
    cargoRoot = "bindings/python";
    buildAndTestSubdir = "bindings/python";
    cargoDeps = rustPlatform.importCargoLock { lockFile = ../bindings/python/Cargo.lock; };

    nativeBuildInputs = [
      rustPlatform.cargoSetupHook
      rustPlatform.maturinBuildHook
    ];
    dependencies = [ python3Packages.msgspec ];

    # scripts/test-python runs the tests, which need a server.
    pythonImportsCheck = [ "tasker" ];

    meta = {
      description = "Workers for Tasker in Python";
      license = lib.licenses.mit;
    };
  };
}
