# The programs that load the images into a container engine and run the integration suite against them.
{
  bash,
  cargo-nextest,
  coreutils,
  docker-client,
  docker-compose,
  images,
  jq,
  lib,
  postgresql,
  procps,
  tests,
  valkey,
  workspace,
  writeShellApplication,
}:
let
  source = workspace.sourcesAnd [
    ../.config/nextest.toml
    ../scripts
  ];

  program =
    name: description: runtimeInputs: text:
    writeShellApplication {
      inherit name text runtimeInputs;
      meta = {
        inherit description;
        mainProgram = name;
      };
    };

  load = ''
    if ! engine=''${CONTAINER_ENGINE:-$(type -P docker || type -P podman)}; then
      echo "Neither docker nor podman is on the PATH: install one, or set CONTAINER_ENGINE to another engine." >&2
      exit 1
    fi
    jq -r '.[].file' ${images}/manifest.json | while read -r file; do
      "$engine" load --input "${images}/$file"
    done
  '';
in
{
  load-images = program "load-images" "Loads the images into docker or podman" [
    coreutils
    jq
  ] load;

  integration-containers =
    program "integration-containers" "Runs the integration suite against the images"
      [
        bash
        cargo-nextest
        coreutils
        docker-client
        docker-compose
        jq
        procps
        valkey
      ]
      ''
        ${load}
        stack=$(mktemp -d "''${TMPDIR:-/tmp}/tasker-containers.XXXXXX")
        ports=$(${source}/scripts/stack-ports)
        eval "$ports"
        # COMPOSE_FILE of the caller adds files, for settings of this machine. Relative names start at the caller's folder.
        export COMPOSE_FILE=${images}/compose.yaml''${COMPOSE_FILE:+:$COMPOSE_FILE} COMPOSE_PROJECT_NAME=tasker-$$

        finish() {
          status=$?
          if [ "$status" != 0 ]; then
            docker-compose logs --no-color >"$stack/containers.log" 2>&1 || true
            tail -n 200 "$stack/containers.log"
            echo "The suite failed with exit code $status. See $stack/containers.log"
          fi
          if ! docker-compose down --volumes --timeout 20 >"$stack/down.log" 2>&1; then
            cat "$stack/down.log"
            echo "The containers of $COMPOSE_PROJECT_NAME may be left."
            if [ "$status" = 0 ]; then status=1; fi
          fi
          if [ "$status" = 0 ]; then rm -rf "$stack"; fi
          exit "$status"
        }
        trap finish EXIT
        suite=
        trap 'if [ -n "$suite" ]; then kill -TERM "$suite"; wait "$suite" || true; fi; exit 130' INT TERM

        IFS=, read -ra services <<<"''${TASKER_STACK_SERVICES-}"
        export COMPOSE_PROFILES=''${TASKER_STACK_SERVICES-} TASKER_PG_BIN=${lib.getBin postgresql}/bin
        docker-compose up --detach --wait --wait-timeout 300 orchestration worker
        # scripts/stack-tests waits for these.
        if [ ''${#services[@]} -gt 0 ]; then docker-compose up --detach "''${services[@]}"; fi
        export TASKER_TEST_ORCHESTRATION_URL=http://127.0.0.1:$TASKER_ORCHESTRATION_PORT
        export TASKER_TEST_WORKER_URL=http://127.0.0.1:$TASKER_WORKER_PORT
        export DATABASE_URL=postgres://tasker@127.0.0.1:$TASKER_PG_PORT/tasker
        export PGPASSWORD=''${TASKER_PG_PASSWORD:-tasker} REDIS_URL=redis://127.0.0.1:$TASKER_REDIS_PORT
        export TASKER_STACK_DIR=$stack TASKER_NEXTEST_ARCHIVE=${tests.archive.file}
        export TASKER_BIN_DIR=${workspace.binaries}/bin TASKER_NEXTEST_ARGS=
        if [ $# -gt 0 ]; then TASKER_NEXTEST_ARGS=$(printf '%q ' "$@"); fi
        # In the background, because bash handles signals only while it waits. This folder stays the caller's, in which
        # COMPOSE_FILE may be relative.
        (cd ${source} && exec scripts/stack-tests) &
        suite=$!
        wait "$suite"
      '';
}
