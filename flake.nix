{
  description = "Tasker: workflows that must not get lost, on PostgreSQL";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    crane.url = "github:ipetkov/crane";
    fenix = {
      url = "github:nix-community/fenix";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      crane,
      fenix,
    }:
    let
      inherit (nixpkgs) lib;

      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];

      # All of the project for one system: what the files in nix/ yield, each called with what it names.
      project =
        system:
        let
          pkgs = nixpkgs.legacyPackages.${system};
          call =
            file:
            let
              f = import file;
            in
            f (builtins.intersectAttrs (lib.functionArgs f) (pkgs // scope));
          scope = {
            inherit pkgs self;
            fenix = fenix.packages.${system};
            craneLib = (crane.mkLib pkgs).overrideToolchain scope.toolchain;
            postgresql = pkgs.postgresql_18.withPackages (extensions: [ extensions.pgmq ]);
            toolchain = call ./nix/toolchain.nix;
            workspace = call ./nix/workspace.nix;
            tests = call ./nix/tests.nix;
            formatter = call ./nix/formatter.nix;
            images = call ./nix/images.nix;
            stack = call ./nix/stack.nix;
            containers = call ./nix/containers.nix;
            checks = call ./nix/checks.nix;
            shell = call ./nix/shell.nix;
          };
        in
        scope // { linux = lib.optionalAttrs pkgs.stdenv.hostPlatform.isLinux; };

      projects = lib.genAttrs systems project;
      perSystem = lib.flip lib.mapAttrs projects;
    in
    {
      packages = perSystem (_: p: p.workspace.packages // p.linux { inherit (p) images; });
      checks = perSystem (_: p: p.checks);
      apps = perSystem (_: p: p.stack // p.linux p.containers);
      devShells = perSystem (_: p: { default = p.shell; });
      formatter = perSystem (_: p: p.formatter);
    };
}
