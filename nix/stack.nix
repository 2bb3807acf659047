# The stack of process-compose.yaml as apps: with the integration suite, for development, and as a demonstration.
{
  bash,
  cargo-nextest,
  coreutils,
  lib,
  postgresql,
  process-compose,
  procps,
  stdenv,
  tests,
  util-linux,
  workspace,
  writeShellApplication,
}:
let
  source = workspace.sourcesAnd [
    ../.config/nextest.toml
    ../process-compose.yaml
    ../scripts
  ];

  app = name: description: text: {
    type = "app";
    program = lib.getExe (writeShellApplication {
      inherit name text;
      # bash for the scripts: that of macOS is too old for them.
      runtimeInputs = [
        bash
        cargo-nextest
        coreutils
        process-compose
        procps
      ]
      ++ lib.optional stdenv.hostPlatform.isLinux util-linux;
      runtimeEnv = {
        TASKER_BIN_DIR = "${workspace.binaries}/bin";
        TASKER_NEXTEST_ARCHIVE = tests.archive.file;
        TASKER_PG_BIN = "${lib.getBin postgresql}/bin";
      };
    });
    meta = { inherit description; };
  };
in
{
  integration = app "integration" "Runs the integration suite against a stack of its own" ''
    exec ${source}/scripts/integration "$@"
  '';

  dev = app "dev" "Runs the stack in the terminal; its data and logs are in .tasker/stack" ''
    mkdir -p "''${TASKER_STACK_DIR:=.tasker/stack}/logs"
    TASKER_STACK_DIR=$(cd "$TASKER_STACK_DIR" && pwd)
    export PATH="$TASKER_BIN_DIR:$PATH" TASKER_STACK_DIR
    cd ${source}
    exec process-compose up --use-uds "$@" orchestration worker
  '';

  demo = app "demo" "Runs the sample workflows on a throw-away PostgreSQL" ''
    exec "$TASKER_BIN_DIR/tasker-cli" demo "$@"
  '';
}
