# The NixOS module: Tasker's server and worker as hardened systemd services, with a local PostgreSQL over its socket.
#
#   imports = [ tasker.nixosModules.default ];
#   services.tasker = {
#     enable = true;
#     worker.enable = true;
#     apiKeyFile = "/run/secrets/tasker-key";
#   };
programs:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkEnableOption
    mkIf
    mkOption
    types
    ;
  cfg = config.services.tasker;
  toml = pkgs.formats.toml { };
  packages = programs pkgs;

  secretFile =
    description:
    mkOption {
      type = types.nullOr types.path;
      default = null;
      description = "${description} systemd reads the file as root and passes it on as a credential.";
    };

  # One process of Tasker. `secrets` are credentials by name, without those that are not set.
  service =
    {
      description,
      command,
      after ? [ ],
      secrets ? { },
      ...
    }@args:
    let
      credentials = lib.filterAttrs (_: file: file != null) (
        secrets // { database-url = cfg.database.urlFile; }
      );
      database = lib.optional cfg.database.createLocally "postgresql.target";
    in
    {
      inherit description;
      wantedBy = [ "multi-user.target" ];
      # Only wanted: the processes wait for a database that is away.
      wants = database ++ [ "network-online.target" ];
      requires = after;
      after = database ++ after ++ [ "network-online.target" ];
      environment = {
        TASKER_CONFIG_PATH = toml.generate "tasker.toml" cfg.settings;
      }
      // lib.optionalAttrs (cfg.database.urlFile == null) { DATABASE_URL = cfg.database.url; }
      // args.environment or { };
      # The address of a database may hold a password, so it is no argument and not in the store.
      script = ''
        ${lib.optionalString (cfg.database.urlFile != null) ''
          DATABASE_URL=$(<"$CREDENTIALS_DIRECTORY/database-url")
          export DATABASE_URL
        ''}
        exec ${command}
      '';
      serviceConfig = {
        User = "tasker";
        Group = "tasker";
        LoadCredential = lib.mapAttrsToList (name: file: "${name}:${file}") credentials;
        Restart = "on-failure";
        RestartSec = 1;
        # Running steps may finish: longer than `shutdown_timeout_ms`.
        TimeoutStopSec = 30;

        CapabilityBoundingSet = "";
        AmbientCapabilities = "";
        NoNewPrivileges = true;
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        PrivateDevices = true;
        PrivateTmp = true;
        PrivateUsers = true;
        ProcSubset = "pid";
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHome = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectProc = "invisible";
        ProtectSystem = "strict";
        RemoveIPC = true;
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_UNIX"
        ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        SystemCallArchitectures = "native";
        SystemCallFilter = [
          "@system-service"
          "~@privileged @resources"
        ];
        UMask = "0077";
      }
      // args.serviceConfig or { };
    };
in
{
  options.services.tasker = {
    enable = mkEnableOption "Tasker's orchestration server";

    package = mkOption {
      type = types.package;
      default = packages.tasker-server;
      defaultText = lib.literalMD "`tasker-server` of Tasker's flake";
      description = "The package of the server.";
    };

    host = mkOption {
      type = types.str;
      default = "127.0.0.1";
      description = "The address on which the server listens. Any other than loopback requires a key.";
    };

    port = mkOption {
      type = types.port;
      default = 8080;
      description = "The port on which the server listens.";
    };

    apiKeyFile = secretFile "The file with the API key that clients must send.";

    jwtPublicKeyFile = secretFile "The file with the public key (PEM) that signs the clients' tokens.";

    settings = mkOption {
      inherit (toml) type;
      default = { };
      example = {
        worker.namespaces = [ "payments" ];
      };
      description = "The settings file of server and worker, as `config/tasker` documents it. It holds no secrets.";
    };

    database = {
      createLocally = mkOption {
        type = types.bool;
        default = true;
        description = "Whether PostgreSQL runs on this machine, with a database and a role `tasker`.";
      };

      url = mkOption {
        type = types.str;
        default = "postgres:///tasker?host=/run/postgresql&user=tasker";
        description = "The address of the database, without a password. The default is the socket of this machine.";
      };

      urlFile = secretFile "The file with the address of the database, if it holds a password; replaces `url`.";
    };

    worker = {
      enable = mkEnableOption "a worker of Tasker";

      package = mkOption {
        type = types.package;
        default = packages.rust-worker;
        defaultText = lib.literalMD "`rust-worker` of Tasker's flake";
        description = "The package of the worker, whose main program runs: replace it by your own.";
      };

      host = mkOption {
        type = types.str;
        default = "127.0.0.1";
        description = "The address of the worker's status API.";
      };

      port = mkOption {
        type = types.port;
        default = 8081;
        description = "The port of the worker's status API.";
      };
    };
  };

  config = mkIf (cfg.enable || cfg.worker.enable) {
    assertions = [
      {
        assertion = cfg.database.createLocally -> cfg.database.urlFile == null;
        message = "services.tasker.database: `urlFile` names a database elsewhere, so set `createLocally = false`.";
      }
    ];

    users.users.tasker = {
      isSystemUser = true;
      group = "tasker";
    };
    users.groups.tasker = { };

    services.postgresql = mkIf cfg.database.createLocally {
      enable = true;
      ensureDatabases = [ "tasker" ];
      ensureUsers = [
        {
          name = "tasker";
          ensureDBOwnership = true;
        }
      ];
    };

    systemd.services = {
      tasker-migrate = service {
        description = "Tasker: migration of the database";
        command = "${lib.getExe cfg.package} migrate";
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
        };
      };
    }
    // lib.optionalAttrs cfg.enable {
      tasker-server = service {
        description = "Tasker: orchestration server";
        command = lib.getExe cfg.package;
        after = [ "tasker-migrate.service" ];
        secrets = {
          api-key = cfg.apiKeyFile;
          jwt-public-key = cfg.jwtPublicKeyFile;
        };
        environment = {
          TASKER_ORCHESTRATION_HOST = cfg.host;
          TASKER_ORCHESTRATION_PORT = toString cfg.port;
        }
        # %d is the folder of the credentials.
        // lib.optionalAttrs (cfg.apiKeyFile != null) { API_KEY_FILE = "%d/api-key"; }
        // lib.optionalAttrs (cfg.jwtPublicKeyFile != null) { JWT_PUBLIC_KEY_FILE = "%d/jwt-public-key"; };
      };
    }
    // lib.optionalAttrs cfg.worker.enable {
      tasker-worker = service {
        description = "Tasker: worker";
        command = lib.getExe cfg.worker.package;
        after = [ "tasker-migrate.service" ];
        environment = {
          TASKER_WORKER_HOST = cfg.worker.host;
          TASKER_WORKER_PORT = toString cfg.worker.port;
        };
      };
    };
  };
}
