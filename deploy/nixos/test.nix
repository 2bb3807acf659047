# The module in a virtual machine: a client with the key runs a task, a client without it cannot, and the services survive
# a restart of PostgreSQL.
{
  module,
  programs,
  testers,
}:
testers.runNixOSTest {
  name = "tasker";

  nodes.machine = {
    imports = [ module ];
    environment.systemPackages = [ programs.tasker-cli ];
    environment.etc."tasker-key".text = "0123456789abcdef0123456789abcdef";
    services.tasker = {
      enable = true;
      worker.enable = true;
      apiKeyFile = "/etc/tasker-key";
    };
  };

  testScript = ''
    run = (
        "TASKER_API_KEY=$(cat /etc/tasker-key) tasker-cli task create --namespace linear_workflow"
        " --name mathematical_sequence --input '{\"even_number\": 6}' --wait"
    )
    machine.wait_for_unit("tasker-server.service")
    machine.wait_for_unit("tasker-worker.service")
    machine.wait_for_open_port(8080)
    machine.wait_until_succeeds("curl --fail --silent http://127.0.0.1:8080/health")
    machine.wait_until_succeeds("curl --fail --silent http://127.0.0.1:8081/health")

    with subtest("the key is needed, and is enough"):
        machine.fail("curl --fail --silent http://127.0.0.1:8080/v1/tasks")
        machine.succeed(run)

    with subtest("no other user can read the key"):
        machine.fail("systemctl show tasker-server | grep 0123456789abcdef")

    with subtest("the services are confined"):
        for unit in ["tasker-server", "tasker-worker", "tasker-migrate"]:
            machine.succeed(f"systemd-analyze security --threshold=20 --no-pager {unit}.service")

    with subtest("PostgreSQL may restart"):
        machine.succeed("systemctl restart postgresql.service")
        machine.wait_until_succeeds("curl --fail --silent http://127.0.0.1:8080/health")
        machine.wait_until_succeeds("curl --fail --silent http://127.0.0.1:8081/health")
        machine.succeed(run)
  '';
}
