//! Gates: reading them, changing their limits, and looking after them.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, Type};
use tasker_api::{Gate, GateHolder, PatchGate, PatchGateRate};
use uuid::Uuid;

use crate::Engine;
use crate::arguments::count;
use crate::statements::statements;

statements! {
    LIST_GATES = "select jsonb_build_object(
            'namespace', (gate).namespace, 'name', (gate).name,
            'limit', coalesce((gate).own_capacity, (gate).capacity), 'template_limit', (gate).capacity,
            'rate', case
                when (gate).own_limit is not null then jsonb_build_object(
                    'limit', (gate).own_limit, 'per_seconds', (gate).own_seconds, 'burst', (gate).own_burst)
                when (gate).rate_limit is not null then jsonb_build_object(
                    'limit', (gate).rate_limit, 'per_seconds', (gate).rate_seconds, 'burst', (gate).rate_burst)
            end,
            'template_rate', case
                when (gate).rate_limit is not null then jsonb_build_object(
                    'limit', (gate).rate_limit, 'per_seconds', (gate).rate_seconds, 'burst', (gate).rate_burst)
            end,
            'holding', holds, 'waiting', waiters, 'updated_at', (gate).updated_at)
        from tasker.list_gates($1, $2, $3)";
    GATE_HOLDERS = "select nullif(h.key, ''), h.task_id, h.step, h.held_at
        from tasker.gates g cross join lateral tasker.gate_holders(g.gate_id, $3) h
        where g.namespace = $1 and g.name = $2";
    CHANGE_GATE = "select tasker.change_gate($1, $2, $3, $4, $5, $6, $7, $8)";
    EXPLAIN_GATE = "select gate, nullif(key, '') as key, place, holds, capacity, starts_at
        from tasker.explain_gate($1, $2, $3)";
    RELEASE_LOST_HOLDS = "select tasker.release_lost_holds($1)";
    ADMIT_WAITERS = "select tasker.admit_waiters(null, $1)";
    FORGET_KEYS = "select tasker.forget_keys($1)";
}

/// The gate at which a step waits.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct GateWait {
    /// The name of the gate.
    pub gate: String,
    /// The key.
    pub key: Option<String>,
    /// Its place in the order of arrival, from 1, if it waits for a slot.
    pub place: Option<i64>,
    /// How many steps hold a slot of the key.
    pub holds: Option<i32>,
    /// How many steps can.
    pub capacity: Option<i32>,
    /// When the rate of the gate lets it start, if it waits for that.
    pub starts_at: Option<DateTime<Utc>>,
}

/// The outcome of a change of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum GateOutcome {
    /// The limits are set.
    Done,
    /// There is no such gate.
    NotFound,
    /// The gate has no rate, and the change does not contain a complete one. Nothing is changed.
    NoRate,
    /// The burst is above the limit of the rate, which the change does not contain. Nothing is changed.
    Burst,
}

impl Engine {
    /// Lists gates of namespaces (None: of every namespace), or those with this name, by namespace and name. Counts end
    /// at `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_gates(
        &self,
        namespaces: Option<&[String]>,
        name: Option<&str>,
        limit: u32,
    ) -> sqlx::Result<Vec<Gate>> {
        let rows: Vec<Json<Gate>> =
            sqlx::query_scalar(LIST_GATES).bind(namespaces).bind(name).bind(count(limit)).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|Json(gate)| gate).collect())
    }

    /// Lists up to `limit` steps that hold slots of a gate, in the order of their keys.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn gate_holders(&self, namespace: &str, name: &str, limit: u32) -> sqlx::Result<Vec<GateHolder>> {
        let rows: Vec<(Option<String>, Uuid, String, DateTime<Utc>)> =
            sqlx::query_as(GATE_HOLDERS).bind(namespace).bind(name).bind(count(limit)).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|(key, task_uuid, step, since)| GateHolder { key, task_uuid, step, since }).collect())
    }

    /// Sets limits of a gate that replace those of templates, or removes them. Steps that wait get slots that are free
    /// now.
    ///
    /// # Errors
    /// When the database fails. Nothing is changed then.
    pub async fn change_gate(&self, namespace: &str, name: &str, change: &PatchGate) -> sqlx::Result<GateOutcome> {
        let rate = change.rate.flatten().unwrap_or_default();
        // A rate without fields changes nothing, and null removes it.
        let sets_rate = change.rate.is_some_and(|rate| rate != Some(PatchGateRate::default()));
        sqlx::query_scalar(CHANGE_GATE)
            .bind(namespace)
            .bind(name)
            .bind(change.limit.is_some())
            .bind(change.limit.flatten().map(count))
            .bind(sets_rate)
            .bind(rate.limit.map(count))
            .bind(rate.per_seconds.map(count))
            .bind(rate.burst.map(count))
            .fetch_one(&self.pool)
            .await
    }

    /// Returns the gate at which a step waits. Counts waiters up to `limit`. None if it waits at none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn explain_gate(&self, task_id: Uuid, step: &str, limit: u32) -> sqlx::Result<Option<GateWait>> {
        sqlx::query_as(EXPLAIN_GATE).bind(task_id).bind(step).bind(count(limit)).fetch_optional(&self.pool).await
    }

    /// Looks after gates: releases slots that no step uses, passes free slots to steps that wait, and forgets keys that
    /// are not in use. A transaction handles up to `limit` rows. Returns how many tasks had lost slots, and at how many
    /// keys steps waited for free slots.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tend_gates(&self, limit: u32) -> sqlx::Result<(i32, i32)> {
        // Separate transactions, because each locks gates in order.
        let lost = self.repeat(RELEASE_LOST_HOLDS, count(limit)).await?;
        let admitted = self.repeat(ADMIT_WAITERS, count(limit)).await?;
        sqlx::query(FORGET_KEYS).bind(count(limit)).execute(&self.pool).await?;
        Ok((lost, admitted))
    }

    /// Runs a statement that handles up to `limit` rows until it handles fewer. Returns how many in all.
    async fn repeat(&self, statement: &'static str, limit: i32) -> sqlx::Result<i32> {
        let mut all: i32 = 0;
        loop {
            let handled: i32 = sqlx::query_scalar(statement).bind(limit).fetch_one(&self.pool).await?;
            all = all.saturating_add(handled);
            if handled < limit {
                return Ok(all);
            }
        }
    }
}
