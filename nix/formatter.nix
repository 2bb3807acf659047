# `nix fmt` formats Rust, Nix and TOML. With --check, as in the check `fmt`, it changes nothing and fails if it would.
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
    cargo fmt --manifest-path fuzz/Cargo.toml "''${check[@]}"
    nixfmt "''${check[@]}" flake.nix nix/*.nix deploy/*/*.nix
    taplo fmt "''${check[@]}"
  '';
}
