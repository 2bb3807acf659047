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

  # One unit. `secrets` are files by the variable that names them; null: it is not set.
  unit =
    {
      description,
      command,
      after ? [ ],
      environment ? { },
      secrets ? { },
      serviceConfig ? { },
    }:
    let
      files = lib.filterAttrs (_: file: file != null) secrets;
      credentials =
        files // lib.optionalAttrs (cfg.database.urlFile != null) { DATABASE_URL = cfg.database.urlFile; };
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
      # %d is the folder of the credentials.
      // lib.mapAttrs (variable: _: "%d/${variable}") files
      // environment;
      # The address of a database may hold a password, so it is no argument and not in the store.
      script = ''
        ${lib.optionalString (cfg.database.urlFile != null) ''
          DATABASE_URL=$(<"$CREDENTIALS_DIRECTORY/DATABASE_URL")
          export DATABASE_URL
        ''}
        exec ${command}
      '';
      serviceConfig = {
        User = "tasker";
        Group = "tasker";
        LoadCredential = lib.mapAttrsToList (variable: file: "${variable}:${file}") credentials;
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
      // serviceConfig;
    };

  # The unit of the server or the worker. NAME is in the variables of its address.
  program =
    NAME: description: options: secrets:
    unit {
      inherit description secrets;
      command = lib.getExe options.package;
      after = [ "tasker-migrate.service" ];
      environment = {
        "TASKER_${NAME}_HOST" = options.host;
        "TASKER_${NAME}_PORT" = toString options.port;
      };
    };

  # The options of the server or the worker.
  programOptions = package: port: what: {
    package = mkOption {
      type = types.package;
      default = packages.${package};
      defaultText = lib.literalMD "`${package}` of Tasker's flake";
      description = "The package of the ${what}, whose main program runs.";
    };

    host = mkOption {
      type = types.str;
      default = "127.0.0.1";
      description = "The address on which the ${what} listens. For the server, any other than loopback requires a key.";
    };

    port = mkOption {
      type = types.port;
      default = port;
      description = "The port on which the ${what} listens.";
    };
  };
in
{
  options.services.tasker = programOptions "tasker-server" 8080 "server" // {
    enable = mkEnableOption "Tasker's orchestration server";

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

    # A worker of your own: replace the package.
    worker = programOptions "rust-worker" 8081 "worker" // {
      enable = mkEnableOption "a worker of Tasker";
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
      tasker-migrate = unit {
        description = "Tasker: migration of the database";
        command = "${lib.getExe cfg.package} migrate";
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
        };
      };
    }
    // lib.optionalAttrs cfg.enable {
      tasker-server = program "ORCHESTRATION" "Tasker: orchestration server" cfg {
        API_KEY_FILE = cfg.apiKeyFile;
        JWT_PUBLIC_KEY_FILE = cfg.jwtPublicKeyFile;
      };
    }
    // lib.optionalAttrs cfg.worker.enable {
      tasker-worker = program "WORKER" "Tasker: worker" cfg.worker { };
    };
  };
}
