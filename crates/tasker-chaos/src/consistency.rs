//! What must be true of the tables whatever happened. Each check is one query that finds violations.
//!
//! - [`violations`]: of rules that hold at every moment, in all tasks;
//! - [`violations_of_open_tasks`]: of the same rules, in tasks that are not final; cheap enough for a running system;
//! - [`left_over`]: what must not be left when all tasks are at rest.
//!
//! Each returns one line for each violation, which begins with the rule. All queries of a call share one snapshot.

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

/// The most lines of one check. A bug usually breaks a rule many times.
const LINES: i32 = 20;

/// A rule, and the query that finds its violations.
type Check = (&'static str, &'static str);

/// Rules that hold at every moment. `scope` contains the tasks to check, `messages` the messages of all queues.
const CHECKS: &[Check] = &[
    (
        // The history of a step begins when its dependencies are done.
        "each transition starts in the state in which the previous one ended",
        "select format('task %s, step %s: was %s, but a transition goes from %s to %s', h.task_id, h.step_no, h.before, h.from_state, h.to_state)
         from (
             select t.*, lag(t.to_state) over (partition by t.task_id, t.step_no order by t.transition_id) as before
             from tasker.transitions t join scope using (task_id)
         ) h
         where h.before is distinct from h.from_state
           and not (h.step_no is not null and h.before is null and h.from_state = 'pending')",
    ),
    (
        "each transition of a step is legal",
        "select format('task %s, step %s: from %s to %s', t.task_id, t.step_no, t.from_state, t.to_state)
         from tasker.transitions t join scope using (task_id)
         where t.step_no is not null and not coalesce(t.to_state::text = any (case coalesce(t.from_state::text, '')
             -- A task that was forked from another one begins with results.
             when '' then array['enqueued', 'completed', 'resolved_manually', 'skipped']
             -- A step is skipped without running, and a group ends with its children.
             when 'pending' then array['enqueued', 'in_progress', 'resolved_manually', 'cancelled', 'skipped',
                                       'completed', 'failed', 'waiting']
             when 'waiting' then array['in_progress', 'enqueued', 'completed', 'failed', 'skipped', 'resolved_manually',
                                       'cancelled']
             when 'enqueued' then array['in_progress', 'resolved_manually', 'cancelled']
             when 'waiting_for_retry' then array['in_progress', 'resolved_manually', 'cancelled']
             when 'in_progress' then array['in_progress', 'completed', 'waiting_for_retry', 'failed', 'enqueued',
                                           'resolved_manually', 'cancelled', 'waiting']
             -- A step that failed before its handler was called is decided again.
             when 'failed' then array['enqueued', 'pending', 'resolved_manually']
         end), false)",
    ),
    (
        // From pending to completed if an operator resolved the only step before it ran.
        "each transition of a task is legal",
        "select format('task %s: from %s to %s', t.task_id, t.from_state, t.to_state)
         from tasker.transitions t join scope using (task_id)
         where t.step_no is null and not coalesce(t.to_state::text = any (case coalesce(t.from_state::text, '')
             when '' then array['pending']
             when 'pending' then array['in_progress', 'completed', 'cancelled']
             when 'in_progress' then array['completed', 'blocked_by_failures', 'cancelled']
             when 'blocked_by_failures' then array['in_progress', 'completed', 'failed', 'cancelled']
         end), false)",
    ),
    (
        "no step has two recorded results",
        "select format('task %s, step %s: %s results', t.task_id, t.step_no, count(*))
         from tasker.transitions t join scope using (task_id)
         where t.step_no is not null and t.to_state in ('completed', 'resolved_manually')
         group by t.task_id, t.step_no having count(*) > 1",
    ),
    (
        "steps are in the last state of their history",
        "select format('task %s, step %s: is %s, but its history ends in %s', s.task_id, s.step_no, s.state, h.to_state)
         from tasker.steps s join scope using (task_id)
         left join (
             select distinct on (t.task_id, t.step_no) t.task_id, t.step_no, t.to_state
             from tasker.transitions t join scope using (task_id)
             where t.step_no is not null order by t.task_id, t.step_no, t.transition_id desc
         ) h using (task_id, step_no)
         where s.state <> coalesce(h.to_state, 'pending')",
    ),
    (
        "tasks are in the last state of their history",
        "select format('task %s: is %s, but its history ends in %s', k.task_id, k.state, h.to_state)
         from scope k
         left join (
             select distinct on (t.task_id) t.task_id, t.to_state
             from tasker.transitions t join scope using (task_id)
             where t.step_no is null order by t.task_id, t.transition_id desc
         ) h using (task_id)
         where k.state is distinct from h.to_state",
    ),
    (
        // Ending a task sets its count of active steps to zero.
        "tasks count their steps correctly",
        "select format('task %s (%s): total %s, completed %s, failed %s, active %s, but its steps say %s, %s, %s, %s',
                k.task_id, k.state, k.total_steps, k.completed_steps, k.failed_steps, k.active_steps,
                n.total, n.completed, n.failed, n.active)
         from scope k
         left join (
             select s.task_id, count(*) as total,
                    count(*) filter (where s.state in ('completed', 'resolved_manually', 'skipped')) as completed,
                    count(*) filter (where s.state = 'failed') as failed,
                    count(*) filter (
                        where s.state in ('enqueued', 'in_progress', 'waiting_for_retry', 'waiting')) as active
             from tasker.steps s join scope using (task_id) group by s.task_id
         ) n using (task_id)
         where (k.total_steps, k.completed_steps, k.failed_steps, k.active_steps)
               is distinct from (n.total, n.completed, n.failed, n.active)",
    ),
    (
        "the states of tasks follow from their steps",
        "select format('task %s is %s, with %s of %s steps completed, %s failed and %s active',
                k.task_id, k.state, k.completed_steps, k.total_steps, k.failed_steps, k.active_steps)
         from scope k
         where (k.state = 'completed') <> (k.completed_steps = k.total_steps)
            or k.state not in ('completed', 'failed', 'cancelled')
               and (k.state = 'blocked_by_failures') <> (k.active_steps = 0 and k.failed_steps > 0)
            or k.state in ('pending', 'in_progress') and k.active_steps = 0",
    ),
    (
        "no step of a final task is open",
        "select format('task %s is %s, but step %s is %s', k.task_id, k.state, s.step_no, s.state)
         from scope k join tasker.steps s using (task_id)
         where k.state in ('completed', 'failed', 'cancelled')
           and s.state in ('pending', 'enqueued', 'in_progress', 'waiting_for_retry', 'waiting')",
    ),
    (
        "steps have a result if and only if they are done",
        "select format('task %s, step %s: is %s, result %s', s.task_id, s.step_no, s.state, coalesce(s.result::text, 'none'))
         from tasker.steps s join scope using (task_id)
         where (s.result is not null) <> (s.state in ('completed', 'resolved_manually'))",
    ),
    (
        "steps wait for exactly the dependencies that have no result",
        "select format('task %s, step %s: is %s and waits for %s, but %s have no result',
                s.task_id, s.step_no, s.state, s.pending_dependencies, d.open)
         from tasker.steps s join scope k using (task_id)
         join tasker.template_steps ts on ts.template_id = k.template_id and ts.step_no = s.step_no,
         lateral (
             select count(*) as open from tasker.steps b
             where b.task_id = s.task_id and b.step_no = any (ts.dependencies)
               and b.state not in ('completed', 'resolved_manually', 'skipped')
         ) d
         -- A group waits for its children.
         where s.first_child is null and s.state not in ('resolved_manually', 'cancelled') and s.pending_dependencies <> d.open",
    ),
    (
        // Since an operator last retried the step. Attempts that were returned do not count.
        "attempts match the history and the limit",
        "select format('task %s, step %s: %s of %s attempts, but %s in its history',
                s.task_id, s.step_no, s.attempts, ts.max_attempts, h.n)
         from tasker.steps s join scope k using (task_id)
         join tasker.template_steps ts
             on ts.template_id = k.template_id and ts.step_no = coalesce(s.definition, s.step_no)
         left join (
             select t.task_id, t.step_no,
                    count(*) filter (where t.to_state = 'in_progress')
                    - count(*) filter (
                        where t.from_state = 'in_progress' and t.to_state in ('enqueued', 'waiting')) as n
             from (
                 select t.*, max(case when t.from_state = 'failed' and t.to_state = 'enqueued' then t.transition_id else 0 end)
                                 over (partition by t.task_id, t.step_no) as begun
                 from tasker.transitions t join scope using (task_id) where t.step_no is not null
             ) t
             where t.transition_id > t.begun
             group by t.task_id, t.step_no
         ) h on h.task_id = s.task_id and h.step_no = s.step_no
         where s.attempts <> coalesce(h.n, 0) or s.attempts > ts.max_attempts",
    ),
    (
        "no step waits for a signal that has arrived",
        "select format('task %s, step %s: waits for %s', s.task_id, s.step_no, s.signal)
         from tasker.steps s join scope using (task_id)
         join tasker.signals g on g.task_id = s.task_id and g.name = s.signal
         where s.state = 'waiting'",
    ),
    (
        "groups wait for exactly the children that have not settled",
        "select format('task %s, step %s: waits for %s, but %s of %s children have not settled',
                g.task_id, g.step_no, g.pending_dependencies, c.open, c.total)
         from tasker.steps g join scope using (task_id),
         lateral (
             select count(*) as total,
                    count(*) filter (where c.state not in ('completed', 'resolved_manually', 'cancelled')) as open
             from tasker.steps c where c.task_id = g.task_id and c.definition = g.step_no
         ) c
         where g.state = 'pending' and g.first_child is not null
           and (c.total <> g.children or c.open <> g.pending_dependencies)",
    ),
    (
        "no more children of a group are active than its parallelism",
        "select format('task %s, step %s: %s children are active', g.task_id, g.step_no, count(*))
         from tasker.steps g join scope k using (task_id)
         join tasker.template_steps ts on ts.template_id = k.template_id and ts.step_no = g.step_no
         join tasker.steps c on c.task_id = g.task_id and c.definition = g.step_no
             and c.state in ('enqueued', 'in_progress', 'waiting_for_retry', 'waiting')
         where g.failed_children = 0
         group by g.task_id, g.step_no, ts.admission
         having count(*) > (ts.admission #>> '{expand,parallelism}')::integer",
    ),
    (
        "no more steps hold a slot than their gate has",
        "select format('gate %s, key %s: %s steps hold a slot', g.name, h.key, count(*))
         from tasker.gate_holds h join tasker.gates g using (gate_id)
         group by g.gate_id, h.key having count(*) > coalesce(g.own_capacity, g.capacity)",
    ),
    (
        "gates count their slots correctly",
        "select format('gate %s, key %s: counts %s, but %s steps hold a slot', g.name, s.key, s.holds, h.n)
         from tasker.gate_slots s join tasker.gates g using (gate_id)
         left join (
             select gate_id, key, count(*) as n from tasker.gate_holds where gate_id is not null group by gate_id, key
         ) h on h.gate_id = s.gate_id and h.key = s.key
         where s.holds <> coalesce(h.n, 0)",
    ),
    (
        "every step that holds a slot is active",
        "select format('task %s, step %s: is %s', h.task_id, h.step_no, s.state)
         from tasker.gate_holds h left join tasker.steps s on s.task_id = h.task_id and s.step_no = h.step_no
         where (s.state in ('enqueued', 'in_progress', 'waiting_for_retry', 'waiting')) is not true",
    ),
    (
        // A message that somebody else sent is superfluous, and whoever reads it deletes it.
        "every step that waits for a slot is enqueued and has no slot",
        "select format('task %s, step %s: is %s', w.task_id, w.step_no, s.state)
         from tasker.gate_waiters w
         left join tasker.steps s on s.task_id = w.task_id and s.step_no = w.step_no
         left join tasker.gate_holds h on h.task_id = w.task_id and h.step_no = w.step_no
         where s.state is distinct from 'enqueued' or h.task_id is not null",
    ),
    (
        // An operator who raises a limit passes on the slots in the same transaction.
        "no step waits for a slot that is free",
        "select format('gate %s, key %s: %s of %s slots are in use, and %s steps wait',
                g.name, w.key, coalesce(s.holds, 0), coalesce(g.own_capacity, g.capacity), w.n)
         from (select gate_id, key, count(*) as n from tasker.gate_waiters group by gate_id, key) w
         join tasker.gates g on g.gate_id = w.gate_id
         left join tasker.gate_slots s on s.gate_id = w.gate_id and s.key = w.key
         where coalesce(s.holds, 0) < coalesce(g.own_capacity, g.capacity)",
    ),
    // By the clock, not by the start of the transaction, because the snapshot is younger.
    (
        "each active step has a message that is visible when it is due",
        "select format('task %s, step %s: is %s, due %s', s.task_id, s.step_no, s.state, s.due_at)
         from scope k join tasker.steps s using (task_id)
         where k.state not in ('completed', 'failed', 'cancelled')
           and (s.state in ('enqueued', 'in_progress', 'waiting_for_retry')
                -- Without an end, only a signal ends the wait.
                or s.state = 'waiting' and s.due_at is not null)
           -- A step that waits for a slot gets its message with the slot.
           and not exists (
               select from tasker.gate_waiters w where w.task_id = s.task_id and w.step_no = s.step_no)
           and not exists (
               select from messages m
               left join tasker.gate_holds h on h.task_id = s.task_id and h.step_no = s.step_no
               where m.message ->> 'task_id' = s.task_id::text and m.message ->> 'step_no' = s.step_no::text
                 and m.vt <= greatest(s.due_at, h.starts_at, clock_timestamp()))",
    ),
];

/// What must not be left when all tasks are at rest.
const LEFT_OVER: &[Check] = &[
    (
        "every task is at rest",
        "select format('task %s is %s', k.task_id, k.state) from scope k where k.state in ('pending', 'in_progress')",
    ),
    (
        "no message is left in a queue",
        "select format('%s: message %s, visible at %s: %s', m.queue, m.msg_id, m.vt, m.message) from messages m",
    ),
];

/// Violations in any task, at this moment. There should be none.
///
/// # Errors
/// If a query fails.
pub async fn violations(pool: &PgPool) -> sqlx::Result<Vec<String>> {
    found(pool, "true", CHECKS).await
}

/// Violations in tasks that are not final, at this moment. There should be none.
///
/// # Errors
/// If a query fails.
pub async fn violations_of_open_tasks(pool: &PgPool) -> sqlx::Result<Vec<String>> {
    let open = "state in ('pending', 'in_progress', 'blocked_by_failures')";
    found(pool, open, CHECKS).await
}

/// Tasks that are not at rest, and messages in queues. There are none once the work is done and the workers have read
/// every message, which may take as long as a lease.
///
/// # Errors
/// If a query fails.
pub async fn left_over(pool: &PgPool) -> sqlx::Result<Vec<String>> {
    found(pool, "true", LEFT_OVER).await
}

/// Details of the tasks that such lines name, or of some that are not at rest if they name none: a line for each
/// transition, step and message.
///
/// # Errors
/// If a query fails.
pub async fn evidence(pool: &PgPool, lines: &[String]) -> sqlx::Result<Vec<String>> {
    let mut connection = pool.acquire().await?;
    let messages = all_messages(&mut connection).await?;
    let statement = format!(
        "with scope as materialized (
             select task_id from tasker.tasks
             where case when cardinality($1::text[]) > 0 then task_id::text = any (
                       array(select substring(l from 'task ([0-9a-f-]{{36}})') from unnest($1::text[]) l))
                   else state in ('pending', 'in_progress') end
             order by task_id limit 3
         )
         select line from (
             select task_id, 1, transition_id,
                    format('task %s, step %s: %s from %s to %s, attempt %s, by %s: %s',
                           task_id, step_no, at, from_state, to_state, attempt, actor, reason)
             from tasker.transitions join scope using (task_id)
             union all
             select task_id, 2, step_no, format('task %s, %s', task_id, to_jsonb(s)) from tasker.steps s join scope using (task_id)
             union all
             select task_id, 3, msg_id, format('task %s, %s', task_id, to_jsonb(m))
             from ({messages}) m join scope on m.message ->> 'task_id' = task_id::text
         ) known(task_id, part, nth, line) order by task_id, part, nth"
    );
    sqlx::query_scalar(AssertSqlSafe(statement)).bind(lines).fetch_all(&mut *connection).await
}

/// Runs checks. They share one snapshot, so that they never see half of a change.
async fn found(pool: &PgPool, scope: &str, checks: &[Check]) -> sqlx::Result<Vec<String>> {
    let mut transaction = pool.begin_with("begin isolation level repeatable read read only").await?;
    // Without statistics, the planner would take a new table for a small one and choose nested loops. The other
    // settings undo what the engine sets in its sessions.
    let settings = "select set_config(name, value, true) from (values
        ('enable_nestloop', 'off'), ('enable_seqscan', 'on'), ('enable_hashjoin', 'on'), ('enable_mergejoin', 'on'),
        ('jit', 'off'), ('plan_cache_mode', 'auto'), ('work_mem', '64MB')) s(name, value)";
    sqlx::query(settings).execute(&mut *transaction).await?;
    let messages = all_messages(&mut transaction).await?;
    let mut found = Vec::new();
    for (rule, query) in checks {
        let statement = format!(
            "with scope as materialized (select * from tasker.tasks where {scope}), messages as materialized ({messages})
             select line from ({query}) found(line) order by line limit {LINES}"
        );
        // Safe: consists of constants and of names that PostgreSQL has quoted.
        let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(&mut *transaction).await?;
        found.extend(lines.into_iter().map(|line| format!("{rule}: {line}")));
    }
    transaction.commit().await?;
    Ok(found)
}

/// A query for the messages of all queues: `queue`, `msg_id`, `vt`, `message`.
pub(crate) async fn all_messages(connection: &mut PgConnection) -> sqlx::Result<String> {
    sqlx::query_scalar(
        "select concat_ws(' union all ',
             'select null::text as queue, null::bigint as msg_id, null::timestamptz as vt, null::jsonb as message where false',
             string_agg(format('select %L, msg_id, vt, message from pgmq.%I', queue, 'q_' || queue), ' union all '))
         from tasker.namespaces",
    )
    .fetch_one(connection)
    .await
}
