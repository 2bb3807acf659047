# `nix fmt`: formats Rust, Nix and TOML; with --check it only looks, which is what the check `fmt` does.
{
  nixfmt,
  taplo,
  toolchain,
  writeShellApplication,
}:
writeShellApplication {
  name = "tasker-fmt";
  runtimeInputs = [
    nixfmt
    taplo
    toolchain
  ];
  text = ''
    check=()
    if [ "''${1-}" = --check ]; then check=(--check); fi
    cargo fmt --all "''${check[@]}"
    nixfmt "''${check[@]}" flake.nix nix/*.nix
    taplo fmt "''${check[@]}"
  '';
}
