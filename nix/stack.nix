# The programs that run the stack of process-compose.yaml: with the integration suite, for development, and as a
# demonstration. Each depends on what it runs and on nothing else.
{
  bash,
  cargo-nextest,
  coreutils,
  gnugrep,
  lib,
  programs,
  postgresql,
  process-compose,
  procps,
  stdenv,
  tests,
  util-linux,
  valkey,
  workspace,
  writeShellApplication,
}:
let
  source = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../process-compose.yaml
      ../scripts
    ];
  };
  # For nextest, whose archive holds programs only: the tests read files of the workspace.
  testSource = workspace.sourcesAnd [
    ../.config/nextest.toml
    ../process-compose.yaml
    ../scripts
  ];

  TASKER_PG_BIN = "${lib.getBin postgresql}/bin";
  # The system's bash is too old on macOS. util-linux has setsid, setpriv and ipcrm.
  stackInputs = [
    bash
    coreutils
    process-compose
    valkey
  ]
  ++ lib.optional stdenv.hostPlatform.isLinux util-linux;

  program =
    name: description: args:
    writeShellApplication (
      args
      // {
        inherit name;
        meta = {
          inherit description;
          mainProgram = name;
        };
      }
    );
in
{
  integration = program "integration" "Runs the integration suite against a stack of its own" {
    runtimeInputs = stackInputs ++ [
      cargo-nextest
      gnugrep
      procps
    ];
    runtimeEnv = {
      inherit TASKER_PG_BIN;
      TASKER_BIN_DIR = "${workspace.binaries}/bin";
      TASKER_NEXTEST_ARCHIVE = tests.archive.file;
    };
    text = ''
      exec ${testSource}/scripts/integration "$@"
    '';
  };

  dev = program "dev" "Runs the stack in the terminal; its data and logs are in .tasker/stack" {
    runtimeInputs = stackInputs ++ [
      programs.rust-worker
      programs.tasker-server
    ];
    runtimeEnv = { inherit TASKER_PG_BIN; };
    text = ''
      mkdir -p "''${TASKER_STACK_DIR:=.tasker/stack}/logs"
      TASKER_STACK_DIR=$(cd "$TASKER_STACK_DIR" && pwd)
      export TASKER_STACK_DIR
      IFS=, read -ra services <<<"''${TASKER_STACK_SERVICES-}"
      cd ${source}
      exec process-compose up --use-uds "$@" orchestration worker "''${services[@]}"
    '';
  };

  demo = program "demo" "Runs the sample workflows on a throw-away PostgreSQL" {
    runtimeEnv = { inherit TASKER_PG_BIN; };
    text = ''
      exec ${lib.getExe programs.tasker-cli} demo "$@"
    '';
  };
}
