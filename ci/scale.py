"""Times the requests of the console on a database with ten million tasks. Each must take less than 100 ms.

    export DATABASE_URL=postgres://...                 an empty database of your own, with about 15 GB of disk
    cargo build --release --bin tasker-server
    python3 ci/scale.py fill                           fills it, which takes some minutes
    python3 ci/scale.py measure                        prints JSON, and fails if a request is too slow

It needs `psql`. TASKER_BIN_DIR names the folder of `tasker-server`. The tasks are made by SQL. They have three
namespaces, 20 templates and 100 days: 97 % are completed, the newest of them have steps and a history, and tags and
searchable values are common, rare or unique. Template `t19` has had no task for the last 90 days.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import report
from report import Problem

ROOT = Path(__file__).parent.parent
SERVER = Path(os.environ.get("TASKER_BIN_DIR") or ROOT / "target" / "release") / "tasker-server"
#: The longest time of a request, in milliseconds.
BUDGET = 100
DAYS = 100
NAMESPACES = ("orders", "billing", "reports")
#: What shows the statistics.
KEPT = ("/v1/stats", "/metrics")
#: How long the server may take to start, in seconds.
LIMIT = 60

# Task number n of 1 to :tasks. Numbers grow with time. `r` is a number from 0 to 999,999 that looks random.
FILL = """
\\set ON_ERROR_STOP on
set synchronous_commit = off;
set session_replication_role = replica;
set jit = off;
alter table tasker.tasks drop constraint task_is_valid;
create temporary table templates as
    select template_id, namespace, name, total_steps, substr(name, 2)::int as number from tasker.task_templates;
insert into tasker.tasks (task_id, template_id, created_at, started_at, completed_at, state, priority, total_steps,
    completed_steps, failed_steps, active_steps, namespace, request_hash, idempotency_key, tags, context)
select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0')
            || '8' || lpad(to_hex(n), 15, '0'))::uuid,
       tt.template_id, at, at + interval '1 s',
       case when state between 'completed' and 'cancelled' then at + interval '9 s' end,
       state, 0, tt.total_steps,
       case when state = 'completed' then tt.total_steps else 0 end,
       case when state in ('failed', 'blocked_by_failures') then 1 else 0 end,
       case when state in ('pending', 'in_progress') then 1 else 0 end,
       tt.namespace, case when n % 10 = 0 then '\\x00'::bytea end, case when n % 10 = 0 then 'key-' || n end,
       case when r % 3 = 0 then jsonb_build_object('region', 'r' || r % 5, 'customer', 'c' || r % 100000)
            when n % 100000 = 7 then '["rare"]' when r % 3 = 1 then '["common"]' end,
       jsonb_build_object('order_id', n, 'amount', r % 100, 'note', repeat('x', r % 200))
from (
    select n, r, now() - interval '1 minute' - (:tasks - n) * interval '1 day' * :days / :tasks as at,
           -- A few templates have most of the tasks. The last one is out of use.
           case when n < :tasks / 10 and r % 50 = 0 then 19 when r % 1000 < 3 then 18
                else floor(sqrt(r % 324)) end as t,
           (case when n > :tasks * 0.998 and r % 10 < 6 then case when r % 10 < 3 then 'in_progress' else 'pending' end
                when r % 1000 < 10 then case r % 2 when 0 then 'failed' else 'blocked_by_failures' end
                when r % 1000 < 20 then 'cancelled' else 'completed' end)::tasker.state as state
    from (select n, abs(hashint8(n)) % 1000000 as r from generate_series(1, :tasks) n) n
) n
join templates tt on tt.number = n.t;
alter table tasker.tasks add constraint task_is_valid check (
    tasker.task_is_valid(state, priority, total_steps, completed_steps, failed_steps, active_steps, completed_at,
                         request_hash, idempotency_key)) not valid;

insert into tasker.task_values (task_id, name, value)
select t.task_id, v.name, v.value from tasker.tasks t cross join lateral (
    select '' as name, t.tags ->> 0 as value where jsonb_typeof(t.tags) = 'array'
    union all select key, value from jsonb_each_text(case jsonb_typeof(t.tags) when 'object' then t.tags else '{}' end)
    union all select '/order_id', t.context ->> 'order_id' where t.namespace = 'orders'
) v;

create temporary table newest as select * from tasker.tasks order by task_id desc limit :tasks / 5;
insert into tasker.steps (task_id, step_no, pending_dependencies, attempts, state, started_at, completed_at, due_at,
    token, worker_id, result)
select t.task_id, s.no, case when s.state = 'pending' then 1 else 0 end, 1, s.state, t.started_at, t.completed_at,
       case when s.state = 'in_progress' then now() + interval '1 hour' end,
       case when s.state = 'in_progress' then gen_random_uuid() end, 'worker-1',
       case when s.state = 'completed' then '{"done": true}'::jsonb end
from newest t cross join lateral (
    select no, (case when t.state = 'completed' then 'completed' when no > 0 then 'pending'
                when t.state = 'pending' then 'enqueued' when t.state = 'in_progress' then 'in_progress'
                when t.state = 'cancelled' then 'cancelled' else 'failed' end)::tasker.state as state
    from generate_series(0, t.total_steps - 1) no
) s;
insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor)
select s.task_id, s.started_at, s.step_no, 1, c.f::tasker.state, c.t::tasker.state, 'worker-1'
from tasker.steps s
cross join (values ('pending', 'enqueued'), ('enqueued', 'in_progress'), ('in_progress', 'completed')) c(f, t)
where s.state = 'completed' and s.task_id >= (
    select task_id from newest order by task_id desc offset :tasks / 50 limit 1);
insert into tasker.dead_letters (entry_id, task_id, namespace, reason, original_state, status, created_at, updated_at)
select tasker.uuid_at(t.created_at), t.task_id, t.namespace, 'max_retries_exceeded', t.state, 'pending', t.created_at,
       t.created_at
from tasker.tasks t where t.state = 'blocked_by_failures';
select format('insert into pgmq.q_%s (vt, message)
    select case when s.state = ''enqueued'' then s.started_at else s.due_at end,
           jsonb_build_object(''task_id'', s.task_id, ''step_no'', s.step_no)
    from tasker.steps s join tasker.tasks t using (task_id)
    where t.namespace = %L and s.state in (''enqueued'', ''in_progress'')', queue, namespace)
from tasker.namespaces \\gexec
insert into tasker.workers (worker_id, namespaces, status, max_concurrent, version, host, started_at, last_heartbeat_at,
    handlers, running_steps, completed_steps, failed_steps)
select 'worker-' || n, array(select namespace from tasker.namespaces), 'running', 100, '0.2.0', 'host', now(),
       now() + interval '1 day', array(select distinct callable from tasker.template_steps), 5, 1000, 0
from generate_series(1, 50) n;
-- Otherwise the server deletes old tasks.
update tasker.namespaces set finished_tasks_days = 0;
vacuum (analyze);
"""


@contextlib.contextmanager
def server(database_url: str) -> Iterator[str]:
    """Runs a server. Gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "DATABASE_URL": database_url, "RUST_LOG": "warn"}
    line = [str(SERVER), "--migrate", "--port", str(port)]
    with subprocess.Popen(line, env=environment, stdout=sys.stderr) as process:
        try:
            deadline = time.monotonic() + LIMIT
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Problem(f"{SERVER} did not start")
                time.sleep(0.05)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


def send(api: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> Any:
    api.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
    response = api.getresponse()
    content = response.read()
    if response.status >= 300:
        raise Problem(f"{method} {path}: {response.status} {content.decode(errors='replace')}")
    return json.loads(content)


def psql(database_url: str, sql: str, *options: str) -> str:
    """Runs SQL, and returns what it prints."""
    line = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", database_url, *options]
    done = report.command(line, input=sql)
    if done.returncode != 0:
        raise Problem(f"psql: {done.stderr}")
    return done.stdout


def fill(database_url: str, tasks: int) -> int:
    with server(database_url) as address:
        api = http.client.HTTPConnection(address)
        for number in range(20):
            steps = [{"name": f"s{n}", "handler": {"callable": f"h{number}"}} for n in range(1 + number % 3)]
            for n in range(1, len(steps)):
                steps[n]["dependencies"] = [f"s{n - 1}"]
            # 70 % of the tasks are orders, and few are reports.
            namespace = NAMESPACES[0 if number >= 10 and number < 18 else 1 if number >= 4 else 2]
            template = {"name": f"t{number}", "namespace_name": namespace, "version": "1.0.0", "steps": steps}
            if namespace == "orders":
                template["searchable"] = ["/order_id"]
            send(api, "POST", "/v1/templates", template)
    print(psql(database_url, FILL, "--variable", f"tasks={tasks}", "--variable", f"days={DAYS}"), file=sys.stderr)
    return 0


def requests(api: http.client.HTTPConnection, some: dict[str, Any]) -> dict[str, tuple[str, str, Any]]:
    """The requests by name: method, path and body."""
    now = datetime.datetime.now(datetime.UTC)

    def ago(days: float) -> str:
        return (now - datetime.timedelta(days=days)).isoformat()

    def tasks(**query: object) -> tuple[str, str, None]:
        return "GET", "/v1/tasks?" + urllib.parse.urlencode({"limit": 50, **query}), None

    def preview(**conditions: str) -> tuple[str, str, Any]:
        return "POST", "/v1/bulk", {"action": "retry", "dry_run": True, "filter": conditions}

    found: dict[str, tuple[str, str, Any]] = {"list: first page": tasks()}
    for number in (2, 3):
        cursor = send(api, *found[f"list: page {number - 1}" if number > 2 else "list: first page"])["next_cursor"]
        found[f"list: page {number}"] = tasks(cursor=cursor)
    deep = some["deep"]
    found |= {
        "list: deep cursor": tasks(cursor=deep),
        "list: largest page": tasks(limit=500),
        "state: completed": tasks(status="completed"),
        "state: completed, deep": tasks(status="completed", cursor=deep),
        "state: failed": tasks(status="failed"),
        "state: blocked": tasks(status="blocked_by_failures"),
        "state: three states": tasks(status="failed,blocked_by_failures,cancelled"),
        "state: in_progress, deep (nothing)": tasks(status="in_progress", cursor=deep),
        "namespace": tasks(namespace="reports"),
        "namespace: unknown (nothing)": tasks(namespace="none"),
        "namespace, state": tasks(namespace="billing", status="failed"),
        "template: common": tasks(template="t17"),
        "template: rare": tasks(template="t18"),
        "template: out of use": tasks(template="t19"),
        "template: unknown (nothing)": tasks(template="none"),
        "template: out of use, state": tasks(template="t19", status="failed"),
        "template, namespace, state": tasks(template="t17", namespace="orders", status="blocked_by_failures"),
        "template, time": tasks(template="t19", created_before=ago(95)),
        "tag: common": tasks(tag="common"),
        "tag: common, deep": tasks(tag="common", cursor=deep),
        "tag: rare": tasks(tag="rare"),
        "tag: named": tasks(tag="region=r1"),
        "tag: customer": tasks(tag="customer=c300"),
        "tag: unknown (nothing)": tasks(tag="none"),
        "tag: rare, state": tasks(tag="rare", status="failed"),
        "tag: common, state": tasks(tag="common", status="blocked_by_failures"),
        "tag: common, state with nothing": tasks(tag="common", status="in_progress", created_before=ago(50)),
        "tag: common, template": tasks(tag="common", template="t18"),
        "tag: common, namespace, state, time": tasks(
            tag="common", namespace="billing", status="failed", created_after=ago(60), created_before=ago(50)
        ),
        "time: last hour": tasks(created_after=ago(1 / 24)),
        "time: far in the past": tasks(created_after=ago(90), created_before=ago(89)),
        "time: far in the past, state": tasks(created_after=ago(90), created_before=ago(89), status="failed"),
        "time: before all (nothing)": tasks(created_before=ago(1000)),
        "searchable value": tasks(tag="/order_id=" + some["order"]),
        "searchable value: unknown (nothing)": tasks(tag="/order_id=none"),
        "idempotency key": tasks(idempotency_key=some["key"]),
        "search: id": tasks(q=deep),
        "search: start of an id": tasks(q=deep[:13]),
        "search: key": tasks(q=some["key"]),
        "search: value": tasks(q=some["order"]),
        "search: common tag": tasks(q="common"),
        "search: common tag, state": tasks(q="common", status="in_progress"),
        "search: nothing": tasks(q="nothing"),
        "dashboard: statistics": ("GET", "/v1/stats", None),
        "dashboard: blocked": tasks(status="blocked_by_failures", limit=6),
        "metrics": ("GET", "/metrics", None),
        "namespaces": ("GET", "/v1/namespaces", None),
        "templates": ("GET", "/v1/templates", None),
        "template: recent tasks": tasks(namespace="orders", template="t17", limit=10),
        "workers": ("GET", "/v1/workers", None),
        "gates": ("GET", "/v1/gates", None),
        "schedules": ("GET", "/v1/schedules", None),
        "dead letters": ("GET", "/v1/dlq", None),
        "dead letters: open, largest page": ("GET", "/v1/dlq?resolution_status=pending&limit=500", None),
        "dead letters: of a task": ("GET", f"/v1/dlq?task_uuid={some['new']}", None),
        "task": ("GET", f"/v1/tasks/{some['new']}", None),
        "task: history": ("GET", f"/v1/tasks/{some['new']}/transitions", None),
        "task: attempts": ("GET", f"/v1/tasks/{some['new']}/attempts", None),
        "task: why it waits": ("GET", f"/v1/tasks/{some['waiting']}/steps/s0", None),
        "bulk: state": preview(status="blocked_by_failures"),
        "bulk: completed": preview(status="completed"),
        "bulk: state, namespace": preview(status="failed", namespace="reports"),
        "bulk: template": preview(template="t17"),
        "bulk: rare template": preview(template="t18"),
        "bulk: template out of use": preview(template="t19"),
        "bulk: template, state": preview(template="t17", status="blocked_by_failures"),
        "bulk: tag": preview(tag="common"),
        "bulk: rare tag": preview(tag="rare"),
        "bulk: tag, state": preview(tag="common", status="blocked_by_failures"),
        "bulk: nothing": preview(tag="none"),
    }
    return found


def measure(database_url: str, repeats: int) -> int:
    some = json.loads(
        psql(
            database_url,
            """select json_build_object(
                'deep', (select task_id from tasker.tasks
                         where task_id < tasker.smallest_uuid_of(now() - interval '80 days')
                           and idempotency_key is not null order by task_id desc limit 1),
                'new', (select task_id from tasker.tasks where namespace = 'orders' and state = 'completed'
                        order by task_id desc limit 1),
                'waiting', (select task_id from tasker.tasks where namespace = 'orders' and state = 'pending'
                            order by task_id desc limit 1),
                'order', (select context ->> 'order_id' from tasker.tasks where namespace = 'orders'
                          and task_id < tasker.smallest_uuid_of(now() - interval '70 days')
                          order by task_id desc limit 1),
                'key', (select idempotency_key from tasker.tasks
                        where task_id < tasker.smallest_uuid_of(now() - interval '60 days')
                        and idempotency_key is not null order by task_id desc limit 1))""",
        )
    )
    results = {}
    with server(database_url) as address:
        api = http.client.HTTPConnection(address)
        for name, (method, path, body) in requests(api, some).items():
            took = []
            for _ in range(repeats + 1):
                begun = time.perf_counter()
                api.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
                response = api.getresponse()
                content = response.read()
                took.append((time.perf_counter() - begun) * 1e3)
                if response.status >= 300:
                    raise Problem(f"{name}: {response.status} {content.decode(errors='replace')}")
                if path in KEPT:
                    # The server keeps the statistics for two seconds.
                    time.sleep(2.1)
            first, rest = took[0], took[1:]
            results[name] = {
                "first": round(first, 1),
                "p50": round(statistics.median(rest), 1),
                "max": round(max(rest), 1),
            }
            if response.getheader("content-type") == "application/json":
                shown = json.loads(content)
                if isinstance(shown, dict) and "tasks" in shown:
                    results[name]["tasks"] = len(shown["tasks"])
                elif "matched" in shown:
                    results[name] |= {"matched": shown["matched"], "complete": shown["complete"]}
    slow = [name for name, result in results.items() if result["p50"] > BUDGET]
    print(json.dumps({"requests": results, "slow": slow}, indent=1))
    return 1 if slow else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    filling = commands.add_parser("fill", help="fill an empty database")
    filling.add_argument("--tasks", type=int, default=10_000_000, help="how many tasks (default: 10 million)")
    measuring = commands.add_parser("measure", help="time the requests")
    measuring.add_argument("--repeats", type=int, default=20, help="how often to send each (default: 20)")
    arguments = parser.parse_args()
    database_url = os.environ.get("DATABASE_URL")
    if not database_url:
        raise Problem("DATABASE_URL is not set: name a database of your own, which this program fills")
    if arguments.command == "fill":
        return fill(database_url, arguments.tasks)
    return measure(database_url, arguments.repeats)


if __name__ == "__main__":
    report.run(main)
