"""Makes the containers' compose file from process-compose.yaml: compose.py process-compose.yaml TAG

A process whose program is in an image becomes a service with the same arguments, environment and start order. The
others (the tests) are left out. Both files write variables as ${NAME:-default}, so both have the same settings.
"""

import shlex
import sys

import yaml

IMAGES = {
    "tasker-server": "tasker-orchestration",
    "rust-worker": "tasker-worker",
    "scripts/stack-postgres": "tasker-postgres",
}
# The images of scripts/stack-services by its first argument. Each starts only with the compose profile of its name.
SERVICES = {
    "redis": "tasker-redis",
    "pgvector": "tasker-postgres",
}
CONDITIONS = {
    "process_healthy": "service_healthy",
    "process_completed_successfully": "service_completed_successfully",
}
# Containers listen on all addresses, and PostgreSQL has a host name of its own.
HOSTS = {
    "${TASKER_LISTEN:-127.0.0.1}": "0.0.0.0",
    "${TASKER_PG_HOST:-127.0.0.1}": "postgres",
    "${TASKER_REDIS_HOST:-127.0.0.1}": "redis",
}


def environment(entries):
    for entry in entries:
        for native, contained in HOSTS.items():
            entry = entry.replace(native, contained)
        yield entry.split("=", 1)


def service(name, process, shared, tag):
    words = shlex.split(process["command"])
    # scripts/stack-run only records exit codes, which a container engine does by itself.
    if words[:3] != ["exec", "scripts/stack-run", name]:
        raise ValueError(f"the command of {name} does not start with `exec scripts/stack-run {name}`")
    program, *arguments = words[3:]
    optional = program == "scripts/stack-services"
    image = SERVICES[arguments[0]] if optional else IMAGES.get(program)
    if image is None:
        return None
    own = dict(environment(process.get("environment", [])))
    result = {
        "image": f"{image}:{tag}",
        # The images are loaded from files; no registry has them.
        "pull_policy": "never",
        "command": arguments,
        "environment": dict(environment(shared)) | own,
        "depends_on": {
            name: {"condition": CONDITIONS[dependency["condition"]]}
            for name, dependency in process.get("depends_on", {}).items()
        },
        # A service listens on its own *_PORT.
        "ports": [f"127.0.0.1:{value}:{value}" for name, value in own.items() if name.endswith("_PORT")],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "tmpfs": ["/tmp"],
    }
    if optional:
        result["entrypoint"] = ["/bin/stack-services"]
        result["profiles"] = [name]
    if program == "tasker-server":
        # Ports are published on the loopback address only, so clients need no key, as without containers.
        result["environment"]["TASKER_ORCHESTRATION_INSECURE"] = "true"
    if program == "scripts/stack-postgres":
        result["volumes"] = ["data:/var/lib/tasker"]
    shutdown = process.get("shutdown", {})
    if "signal" in shutdown:
        result["stop_signal"] = str(shutdown["signal"])
    if "timeout_seconds" in shutdown:
        result["stop_grace_period"] = f"{shutdown['timeout_seconds']}s"
    return {key: value for key, value in result.items() if value}


def main(stack, tag):
    with open(stack, encoding="utf-8") as file:
        project = yaml.safe_load(file)
    services = {
        name: made
        for name, process in project["processes"].items()
        if (made := service(name, process, project["environment"], tag))
    }
    print("# Made from process-compose.yaml.")
    compose = {"name": "tasker", "services": services, "volumes": {"data": {}}}
    yaml.safe_dump(compose, sys.stdout, sort_keys=False)


main(*sys.argv[1:])
