# The tests, compiled once into a nextest archive, and a way to run some of them with a real PostgreSQL.
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
      inherit (workspace) cargoArtifacts;
      pnameSuffix = "-tests";
      nativeBuildInputs = [ cargo-nextest ];
      doInstallCargoArtifacts = false;
      buildPhaseCargoCommand = ''
        mkdir -p $out
        cargo test --locked --workspace --no-run
        # Debug information would be most of the archive, which each run unpacks. Only the tests have names without a dot:
        # a macro's library that looks newer would have its dependents compiled again.
        find target/debug/deps -maxdepth 1 -type f -executable ! -name '*.*' -exec strip -S {} +
        cargo nextest archive --locked --workspace --archive-file $out/tests.tar.zst
      '';
      passthru.file = "${archive}/tests.tar.zst";
    }
  );

  # Runs a profile of .config/nextest.toml. The result is the JUnit report; a run that fails prints it into the log.
  run =
    profile:
    runCommand "tasker-tests-${profile}"
      {
        # `kill` and `ps` are among what tests of processes use.
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
        # Where the tests were compiled, because they know that place.
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
