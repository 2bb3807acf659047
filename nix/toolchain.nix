# The Rust toolchain. rust-toolchain.toml gives the channel, Cargo.toml the oldest supported release, and fenix's pin in
# flake.lock the release. fenix's own `fromToolchainFile` would need import from derivation.
{
  fenix,
  lib,
  # Beside the compiler: those of rust-toolchain.toml, or only what a build runs.
  components ? (lib.importTOML ../rust-toolchain.toml).toolchain.components,
}:
let
  wanted = (lib.importTOML ../rust-toolchain.toml).toolchain;
  oldest = (lib.importTOML ../Cargo.toml).workspace.package.rust-version;

  # Only the manifest of the stable channel shows the release.
  channel =
    if wanted.channel != "stable" then
      throw "rust-toolchain.toml: the flake supports only the channel `stable`, not `${wanted.channel}`"
    else if wanted ? targets then
      throw "rust-toolchain.toml: the flake does not support `targets`; see nix/toolchain.nix"
    else
      fenix.stable;

  # The manifest shows the release number only in its URLs: .../rustc-1.97.1-x86_64-unknown-linux-gnu.tar.gz
  release = lib.head (
    builtins.match ".*/rustc-([0-9.]+)-.*" channel.manifest.pkg.rustc.target.x86_64-unknown-linux-gnu.url
  );

  all = [
    "cargo"
    "rustc"
    "rust-std"
  ]
  ++ components;
  missing = lib.filter (component: !channel ? ${component}) all;
in
if lib.versionOlder release oldest then
  throw "Cargo.toml requires Rust ${oldest}, but fenix's ${wanted.channel} is ${release}: run `nix flake update fenix`"
else if missing != [ ] then
  throw "nix/toolchain.nix: Rust ${release} has no component ${lib.concatStringsSep ", " missing}"
else
  channel.withComponents all
