//! Dead letters: investigations of tasks that do not go on by themselves.

use sqlx::types::Json;
use tasker_api::{DeadLetter, ListDeadLetters, PatchDeadLetter, ResolutionStatus};
use uuid::Uuid;

use crate::Engine;
use crate::arguments::count;
use crate::statements::statements;

/// The columns of a [`DeadLetter`] as JSON.
macro_rules! entry_json {
    () => {
        "jsonb_build_object(
            'dlq_entry_uuid', e.entry_id, 'task_uuid', e.task_id, 'namespace', e.namespace, 'name', tt.name,
            'version', tt.version, 'dlq_reason', e.reason, 'original_state', e.original_state, 'current_state', t.state,
            'resolution_status', e.status, 'resolution_notes', e.notes, 'metadata', e.metadata,
            'resolved_by', e.resolved_by, 'resolved_at', e.resolved_at, 'created_at', e.created_at,
            'updated_at', e.updated_at)"
    };
}

statements! {
    GET_DEAD_LETTER = concat!("select ", entry_json!(), " from tasker.dead_letters e
        join tasker.tasks t using (task_id) join tasker.task_templates tt using (template_id)
        where e.entry_id = $1");
    // Each pair of namespace and status is a short scan of one index.
    LIST_DEAD_LETTERS = concat!("select ", entry_json!(), " from (
            select l.* from tasker.namespaces n
            cross join unnest($2::text[]) s(status)
            cross join lateral (
                select * from tasker.dead_letters d
                where d.namespace = n.namespace and d.status = s.status and ($3::uuid is null or d.task_id = $3)
                  and d.entry_id < coalesce($4::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
                order by d.entry_id desc limit $5
            ) l
            where $1::text[] is null or n.namespace = any ($1)
            order by l.entry_id desc limit $5) e
        join tasker.tasks t using (task_id) join tasker.task_templates tt using (template_id)
        order by e.entry_id desc");
    OPEN_DEAD_LETTER = "select tasker.open_dead_letters(array[$1::uuid], 'manual_dlq', $2)";
    OPEN_OF_TASK = "select entry_id from tasker.dead_letters where task_id = $1 and status = 'pending'";
    /// The index reads the open ones only.
    COUNT_DEAD_LETTERS = "select namespace, reason, count(*)
        from (select namespace, reason from tasker.dead_letters where status = 'pending' limit $1) d
        group by namespace, reason";
    OPEN_BLOCKED_DEAD_LETTERS = "select tasker.open_blocked_dead_letters($1)";
    PATCH_DEAD_LETTER = "update tasker.dead_letters e
        set status = coalesce($2, e.status), notes = coalesce($3, e.notes), metadata = coalesce($4, e.metadata),
            resolved_by = case when coalesce($2, e.status) = 'pending' then null else coalesce($5, e.resolved_by) end,
            resolved_at = case
                when coalesce($2, e.status) = 'pending' then null
                else coalesce(e.resolved_at, tasker.now())
            end,
            updated_at = tasker.now()
        where e.entry_id = $1 and not (
            $2 = 'pending' and e.status <> 'pending' and exists (
                select from tasker.dead_letters o where o.task_id = e.task_id and o.status = 'pending'))
        returning true";
}

impl Engine {
    /// Returns an investigation. None if it does not exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_dead_letter(&self, entry_id: Uuid) -> sqlx::Result<Option<DeadLetter>> {
        let row: Option<Json<DeadLetter>> =
            sqlx::query_scalar(GET_DEAD_LETTER).bind(entry_id).fetch_optional(&self.pool).await?;
        Ok(row.map(|row| row.0))
    }

    /// Lists investigations of some namespaces, newest first. None means every namespace.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_dead_letters(
        &self,
        namespaces: Option<&[String]>,
        filter: &ListDeadLetters,
        limit: i64,
    ) -> sqlx::Result<Vec<DeadLetter>> {
        let statuses: Vec<_> = match filter.resolution_status {
            Some(status) => vec![status.as_str()],
            None => ResolutionStatus::ALL.map(ResolutionStatus::as_str).to_vec(),
        };
        let rows: Vec<Json<DeadLetter>> = sqlx::query_scalar(LIST_DEAD_LETTERS)
            .bind(namespaces)
            .bind(statuses)
            .bind(filter.task_uuid)
            .bind(filter.cursor)
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// Opens an investigation of a task, unless one is open. Returns the open one, and whether it is new. None if the
    /// task does not exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_dead_letter(&self, task_id: Uuid, notes: Option<&str>) -> sqlx::Result<Option<(Uuid, bool)>> {
        let opened: i32 = sqlx::query_scalar(OPEN_DEAD_LETTER).bind(task_id).bind(notes).fetch_one(&self.pool).await?;
        let entry: Option<Uuid> = sqlx::query_scalar(OPEN_OF_TASK).bind(task_id).fetch_optional(&self.pool).await?;
        Ok(entry.map(|entry| (entry, opened > 0)))
    }

    /// Opens investigations of up to `limit` tasks that are blocked by failures. Returns how many.
    ///
    /// # Errors
    /// When the database fails. Nothing is opened then.
    pub async fn open_blocked_dead_letters(&self, limit: u32) -> sqlx::Result<i32> {
        sqlx::query_scalar(OPEN_BLOCKED_DEAD_LETTERS).bind(count(limit)).fetch_one(&self.pool).await
    }

    /// Counts the open investigations by namespace and reason, up to a limit of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_dead_letters(&self, limit: u32) -> sqlx::Result<Vec<(String, String, i64)>> {
        sqlx::query_as(COUNT_DEAD_LETTERS).bind(count(limit)).fetch_all(&self.pool).await
    }

    /// Changes an investigation. `actor` is who closes it. Returns false if it does not exist, or if it would be the
    /// second open one of its task.
    ///
    /// # Errors
    /// When the database fails. Nothing is changed then.
    pub async fn patch_dead_letter(
        &self,
        entry_id: Uuid,
        change: &PatchDeadLetter,
        actor: Option<&str>,
    ) -> sqlx::Result<bool> {
        let changed: Option<bool> = sqlx::query_scalar(PATCH_DEAD_LETTER)
            .bind(entry_id)
            .bind(change.resolution_status.map(ResolutionStatus::as_str))
            .bind(&change.resolution_notes)
            .bind(change.metadata.as_ref().map(Json))
            .bind(actor)
            .fetch_optional(&self.pool)
            .await?;
        Ok(changed.is_some())
    }
}
