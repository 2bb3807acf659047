# The OCI images. `nix build .#images` yields those of the stack with a manifest and a compose file; `nix build
# .#images.orchestration` yields one. `nix build .#images.workers` yields the sample workers in other languages.
#
# The store paths that a program needs are the lower layers and the program is the last layer, so a change of the code
# changes only the last layer. Everything comes from pinned inputs and the commit's date, so two builds are identical.
{
  bash,
  coreutils,
  dockerTools,
  flake,
  jq,
  lib,
  linkFarm,
  nodejs_24,
  # Without npm. A package set that only checks the flake may lack it.
  nodejs-slim_24 ? nodejs_24,
  postgresql,
  programs,
  python,
  python3,
  ruby,
  rubyGem,
  runCommand,
  typescript,
  valkey,
  workspace,
}:
let
  inherit (workspace.commonArgs) version;
  # Two trees on one machine have different tags: by the commit, or by the content if there are uncommitted changes.
  content = builtins.substring 0 8 (builtins.hashString "sha256" flake.narHash);
  tag = "${version}-${flake.shortRev or "dirty-${content}"}";
  date = flake.lastModifiedDate;
  part = from: length: builtins.substring from length date;
  created = "${part 0 4}-${part 4 2}-${part 6 2}T${part 8 2}:${part 10 2}:${part 12 2}Z";

  # Neither root nor a user of the host. fakeNss gives the user a name inside of the image.
  nobody = "65534:65534";

  image =
    {
      name,
      description,
      entrypoint,
      # The command of the health check.
      healthCommand,
      # Commands that fill the last layer.
      install,
      contents ? [ ],
      config ? { },
      ...
    }@args:
    dockerTools.buildLayeredImage (
      removeAttrs args [
        "description"
        "entrypoint"
        "healthCommand"
        "install"
      ]
      // {
        name = "tasker-${name}";
        inherit created tag;
        # One layer for each of the largest paths and one for the rest: layers of equal size would have no stable order.
        maxLayers = 6;
        contents = contents ++ [
          dockerTools.caCertificates
          dockerTools.fakeNss
        ];
        extraCommands = install;
        config = {
          Entrypoint = entrypoint;
          User = nobody;
          Healthcheck = {
            Test = [ "CMD" ] ++ healthCommand;
            Interval = 2 * 1000 * 1000 * 1000;
            Timeout = 15 * 1000 * 1000 * 1000;
            # A busy machine may start slowly.
            StartPeriod = 120 * 1000 * 1000 * 1000;
            Retries = 15;
          };
          Labels = {
            "org.opencontainers.image.title" = "tasker-${name}";
            "org.opencontainers.image.description" = description;
            "org.opencontainers.image.version" = version;
            "org.opencontainers.image.revision" = flake.rev or flake.dirtyRev or "unknown";
            "org.opencontainers.image.created" = created;
            "org.opencontainers.image.licenses" = "MIT";
          };
        }
        // config;
      }
    );

  # A script of the stack in the last layer, as bin/NAME.
  script = name: ''
    install -D ${../scripts + "/${name}"} bin/${name}
    sed -i '1s|.*|#!/bin/bash|' bin/${name}
  '';

  # The sample worker in another language.
  sampleWorker =
    {
      language,
      command,
      environment ? [ ],
    }:
    let
      name = "${lib.toLower language}-worker";
    in
    {
      ${name} = image {
        inherit name;
        description = "Tasker's sample worker in ${language}";
        entrypoint = command;
        healthCommand = command ++ [ "health" ];
        # All is in the store.
        install = "";
        config.Env = [ "TASKER_SAMPLE_TEMPLATES=${../crates/tasker-worker-rust/templates}" ] ++ environment;
      };
    };

  # One program, without a shell.
  service =
    name: program:
    image {
      inherit name;
      inherit (program.meta) description;
      entrypoint = [ "/bin/${program.meta.mainProgram}" ];
      healthCommand = [
        "/bin/${program.meta.mainProgram}"
        "health"
      ];
      install = "install -D --target-directory=bin ${lib.getExe program}";
    };

  images = {
    orchestration = service "orchestration" programs.tasker-server;
    worker = service "worker" programs.rust-worker;
    postgres = image {
      name = "postgres";
      description = "PostgreSQL with PGMQ and pgvector, as Tasker's stack runs it";
      contents = [
        bash
        coreutils
      ];
      entrypoint = [ "/bin/stack-postgres" ];
      healthCommand = [
        "/bin/stack-postgres"
        "ready"
      ];
      install = script "stack-postgres" + script "stack-services";
      # PostgreSQL must own its folder.
      fakeRootCommands = ''
        install -d -o 65534 -g 65534 var/lib/tasker
        install -d -m 1777 tmp
      '';
      config = {
        Cmd = [ "serve" ];
        Env = [
          "PATH=/bin:${lib.getBin postgresql}/bin"
          "TASKER_STACK_DIR=/var/lib/tasker"
        ];
        Volumes."/var/lib/tasker" = { };
      };
    };
    redis = image {
      name = "redis";
      description = "Valkey without persistence, as Tasker's stack runs it";
      contents = [
        bash
        coreutils
      ];
      entrypoint = [ "/bin/stack-services" ];
      healthCommand = [
        "/bin/stack-services"
        "ready"
      ];
      install = script "stack-services";
      config = {
        Cmd = [ "redis" ];
        Env = [
          "PATH=/bin:${lib.getBin valkey}/bin"
          "TASKER_STACK_SERVICES=redis"
        ];
      };
    };
  };

  workers =
    lib.optionalAttrs (python ? tasker-py) (sampleWorker {
      language = "Python";
      command = [
        "${python3.withPackages (_: [ python.tasker-py ])}/bin/python3"
        "${../bindings/python/sample}/python-worker"
      ];
    })
    // lib.optionalAttrs (rubyGem ? tasker-rb) (sampleWorker {
      language = "Ruby";
      command = [
        "${ruby}/bin/ruby"
        "${../bindings/ruby/sample}/ruby-worker"
      ];
      environment = [ "GEM_PATH=${rubyGem.tasker-rb}/${ruby.gemPath}" ];
    })
    // sampleWorker {
      language = "TypeScript";
      command = [
        "${nodejs-slim_24}/bin/node"
        "${typescript.tasker-ts.sample}/worker.js"
      ];
    };
in
runCommand "tasker-images-${version}"
  {
    nativeBuildInputs = [
      jq
      (python3.withPackages (python: [ python.pyyaml ]))
    ];
    passthru =
      images
      // workers
      // {
        workers = linkFarm "tasker-worker-images-${version}" (
          lib.mapAttrs' (name: lib.nameValuePair "${name}.tar.gz") workers
        );
      };
  }
  ''
    mkdir $out
    add() {
      if [ "$1" != postgres ] && [ "$1" != redis ] && [ "$(stat -L -c %s "$2")" -gt $((40 << 20)) ]; then
        echo "The image $1 is over 40 MiB: nix path-info --recursive --size shows what it contains"
        exit 1
      fi
      ln -s "$2" "$out/$1.tar.gz"
      jq --null-input --arg name "$3" --arg tag "$4" --arg file "$1.tar.gz" --argjson bytes "$(stat -L -c %s "$2")" \
        --arg sha256 "$(sha256sum "$2" | cut -d' ' -f1)" '$ARGS.named' >>manifest
    }
    ${lib.concatMapAttrsStringSep "" (name: image: ''
      add ${name} ${image} ${image.imageName} ${tag}
    '') images}
    jq --slurp . manifest >$out/manifest.json
    python3 ${./compose.py} ${../process-compose.yaml} ${tag} >$out/compose.yaml
  ''
