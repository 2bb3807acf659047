# The programs for users, one package each, so that an image holds no other program.
{
  installShellFiles,
  lib,
  runCommand,
  stdenv,
  workspace,
}:
let
  package =
    name: description: install:
    runCommand "${name}-${workspace.commonArgs.version}"
      {
        nativeBuildInputs = [ installShellFiles ];
        # For a cache: `.#tasker-cli.cargoArtifacts`.
        passthru = { inherit (workspace.binaries) cargoArtifacts; };
        meta = {
          inherit description;
          mainProgram = name;
          license = lib.licenses.mit;
        };
      }
      ''
        install -D --target-directory=$out/bin ${workspace.binaries}/bin/${name}
        ${install}
      '';

  # The program prints its completions, so they are missing when it is built for another platform.
  completions = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    for shell in bash fish zsh; do $out/bin/tasker-cli completions $shell >tasker-cli.$shell; done
    installShellCompletion --cmd tasker-cli --bash tasker-cli.bash --fish tasker-cli.fish --zsh tasker-cli.zsh
  '';
in
{
  tasker-cli =
    package "tasker-cli" "Operates Tasker, and runs a complete stack on a laptop"
      completions;
  tasker-server = package "tasker-server" "Tasker's orchestration server" "";
  rust-worker = package "rust-worker" "Tasker's sample worker" "";
}
