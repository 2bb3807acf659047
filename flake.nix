{
  description = "Tasker: durable workflow orchestration on PostgreSQL";

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

      # The project on one system: a scope of what the files in nix/ yield. Each file names what it needs.
      project =
        pkgs:
        lib.makeScope pkgs.newScope (
          project:
          let
            inherit (project) callPackage;
            # For a file that yields a set of packages.
            callPackages = lib.callPackagesWith (pkgs // project);
          in
          {
            flake = self;
            fenix = fenix.packages.${pkgs.stdenv.hostPlatform.system};
            craneLib = (crane.mkLib pkgs).overrideToolchain project.toolchain;
            # A package set may have no pgvector for this release yet; then the service `pgvector` says so.
            postgresql = pkgs.postgresql_18.withPackages (
              extensions: [ extensions.pgmq ] ++ lib.optional (extensions ? pgvector) extensions.pgvector
            );
            # Of builds and checks. The shell has more.
            toolchain = callPackage ./nix/toolchain.nix {
              components = [
                "clippy"
                "rustfmt"
              ];
            };
            workspace = callPackage ./nix/workspace.nix { };
            programs = callPackages ./nix/programs.nix { };
            python = callPackages ./nix/python.nix { };
            rubyGem = callPackages ./nix/ruby.nix { };
            nodeModules = callPackage ./nix/node-modules.nix { };
            typescript = callPackages ./nix/typescript.nix { };
            tests = callPackage ./nix/tests.nix { };
            formatter = callPackage ./nix/formatter.nix { };
            images = callPackage ./nix/images.nix { };
            stack = callPackages ./nix/stack.nix { };
            containers = callPackages ./nix/containers.nix { };
            checks = callPackages ./nix/checks.nix { };
            nixosTest = callPackage ./deploy/nixos/test.nix { module = self.nixosModules.default; };
            pipeline = callPackage ./nix/pipeline.nix { };
            shell = callPackage ./nix/shell.nix { };
          }
        );

      projects = lib.genAttrs systems (system: project nixpkgs.legacyPackages.${system});
      perSystem =
        outputs:
        lib.mapAttrs (system: outputs nixpkgs.legacyPackages.${system}.stdenv.hostPlatform) projects;

      app = program: {
        type = "app";
        program = lib.getExe program;
        meta = { inherit (program.meta) description; };
      };
    in
    {
      packages = perSystem (
        platform: p:
        p.programs
        // p.python
        // p.rubyGem
        // p.typescript
        // {
          default = p.programs.tasker-cli;
        }
        // lib.optionalAttrs platform.isLinux { inherit (p) images; }
      );
      checks = perSystem (
        platform: p:
        p.checks
        # In a virtual machine, so it needs KVM. A package set without NixOS has no such test.
        // lib.optionalAttrs (platform.isLinux && nixpkgs.nixosModules != { }) { nixos = p.nixosTest; }
      );
      apps = perSystem (
        platform: p:
        lib.mapAttrs (_: app) (
          p.stack // { ci = p.pipeline; } // lib.optionalAttrs platform.isLinux p.containers
        )
      );
      devShells = perSystem (_: p: { default = p.shell; });
      formatter = perSystem (_: p: p.formatter);
      templates =
        let
          starter = path: language: {
            inherit path;
            description = "A ${language} service that creates tasks and runs their steps";
            welcomeText = "README.md says how to start the service. `tasker-starter` is its name: replace it by yours.";
          };
        in
        rec {
          default = rust;
          python = starter ./starters/python "Python";
          ruby = starter ./starters/ruby "Ruby";
          rust = starter ./starters/rust "Rust";
          typescript = starter ./starters/typescript "TypeScript";
        };
      nixosModules.default = import ./deploy/nixos/module.nix (pkgs: (project pkgs).programs);
      overlays.default = final: _: {
        inherit ((project final).programs) tasker-cli tasker-server rust-worker;
      };
    };
}
