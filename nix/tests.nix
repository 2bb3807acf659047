# All tests, compiled once into a nextest archive, and a function that runs a profile of them with a real PostgreSQL.
{
  cacert,
  cargo-nextest,
  coreutils,
  craneLib,
  lib,
  postgresql,
  procps,
  runCommand,
  workspace,
}:
rec {
  archive = craneLib.mkCargoDerivation (
    workspace.commonArgs
    // {
      cargoArtifacts = workspace.devArtifacts;
      pnameSuffix = "-tests";
      nativeBuildInputs = [ cargo-nextest ];
      doInstallCargoArtifacts = false;
      buildPhaseCargoCommand = ''
        mkdir -p $out
        cargo test --locked --workspace --no-run
        # Without debug information, which would be most of the archive. Only names without a dot: if the library of a
        # macro were newer, cargo would compile its dependents again.
        find target/debug/deps -maxdepth 1 -type f -executable ! -name '*.*' -exec strip -S {} +
        cargo nextest archive --locked --workspace --archive-file $out/tests.tar.zst
      '';
      passthru.file = "${archive}/tests.tar.zst";
    }
  );

  # Runs a profile of .config/nextest.toml and yields the JUnit report. A failed run prints the report into the log.
  run =
    profile:
    runCommand "tasker-tests-${profile}"
      {
        # procps, because tests of processes use `kill` and `ps`.
        nativeBuildInputs = [
          cargo-nextest
          coreutils
          procps
        ];
        src = workspace.sourcesAnd [ ../.config/nextest.toml ];
        env = {
          TASKER_BIN_DIR = "${workspace.binaries}/bin";
          TASKER_PG_BIN = "${lib.getBin postgresql}/bin";
          NEXTEST_SHOW_PROGRESS = "counter";
          SSL_CERT_FILE = "${cacert}/etc/ssl/certs/ca-bundle.crt";
        };
      }
      ''
        # The tests know the folder in which they were compiled.
        cp -r $src source
        chmod -R u+w source
        export HOME=$PWD
        status=0
        cargo-nextest nextest run --archive-file ${archive.file} --extract-to source --extract-overwrite \
          --workspace-remap source --profile ${profile} || status=$?
        report=source/target/nextest/${profile}/junit.xml
        if [ $status != 0 ]; then
          echo "--- JUnit report"
          cat $report || true
          exit $status
        fi
        install -D $report $out/junit.xml
      '';
}
