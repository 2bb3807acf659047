SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA pgmq;
CREATE SCHEMA tasker;
CREATE TYPE pgmq.message_record AS (
	msg_id bigint,
	read_ct integer,
	enqueued_at timestamp with time zone,
	last_read_at timestamp with time zone,
	vt timestamp with time zone,
	message jsonb,
	headers jsonb
);
CREATE TYPE pgmq.metrics_result AS (
	queue_name text,
	queue_length bigint,
	newest_msg_age_sec integer,
	oldest_msg_age_sec integer,
	total_messages bigint,
	scrape_time timestamp with time zone,
	queue_visible_length bigint,
	default_partition_length bigint
);
CREATE TYPE pgmq.queue_record AS (
	queue_name character varying,
	is_partitioned boolean,
	is_unlogged boolean,
	created_at timestamp with time zone
);
CREATE TYPE tasker.state AS ENUM (
    'pending',
    'enqueued',
    'in_progress',
    'waiting_for_retry',
    'completed',
    'failed',
    'cancelled',
    'resolved_manually',
    'blocked_by_failures'
);
CREATE TYPE tasker.accepted_result AS (
	namespace text,
	msg_id bigint,
	task_id uuid,
	step_no smallint,
	token uuid,
	state tasker.state,
	due_at timestamp with time zone
);
CREATE TYPE tasker.claimed_step AS (
	refused boolean,
	task_id uuid,
	step_no smallint,
	token uuid,
	msg_id bigint,
	namespace text,
	template_name text,
	template_version text,
	step_name text,
	callable text,
	initialization jsonb,
	context jsonb,
	dependency_results json,
	attempt smallint,
	max_attempts smallint,
	timeout_seconds integer,
	waited_seconds double precision
);
CREATE TYPE tasker.read_message AS (
	namespace text,
	msg_id bigint,
	visible_at timestamp with time zone,
	task_id uuid,
	step_no smallint
);
CREATE TYPE tasker.read_step AS (
	namespace text,
	msg_id bigint,
	visible_at timestamp with time zone,
	task_id uuid,
	step_no smallint,
	action text,
	state tasker.state,
	attempts smallint,
	due_at timestamp with time zone,
	worker_id text
);
CREATE FUNCTION pgmq._belongs_to_pgmq(table_name text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
DECLARE
    sql TEXT;
    result BOOLEAN;
BEGIN
  SELECT EXISTS (
    SELECT 1
    FROM pg_depend
    WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgmq')
    AND objid = (
        SELECT oid
        FROM pg_class
        WHERE relname = table_name
    )
  ) INTO result;
  RETURN result;
END;
$$;
CREATE FUNCTION pgmq._create_fifo_index_if_not_exists(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
    index_name TEXT := qtable || '_fifo_idx';
BEGIN
    -- Create GIN index on headers for efficient FIFO key lookups
    EXECUTE FORMAT(
        $QUERY$
        CREATE INDEX IF NOT EXISTS %I ON pgmq.%I USING GIN (headers);
        $QUERY$,
        index_name, qtable
    );
END;
$_$;
CREATE FUNCTION pgmq._ensure_pg_partman_installed() RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF NOT pgmq._extension_exists('pg_partman') THEN
    RAISE EXCEPTION 'pg_partman is required for partitioned queues';
  END IF;
END;
$$;
CREATE FUNCTION pgmq._extension_exists(extension_name text) RETURNS boolean
    LANGUAGE sql
    AS $$
SELECT EXISTS (
    SELECT 1
    FROM pg_extension
    WHERE extname = extension_name
)
$$;
CREATE FUNCTION pgmq._get_partition_col(partition_interval text) RETURNS text
    LANGUAGE plpgsql
    AS $$
DECLARE
  num INTEGER;
BEGIN
    BEGIN
        num := partition_interval::INTEGER;
        RETURN 'msg_id';
    EXCEPTION
        WHEN others THEN
            RETURN 'enqueued_at';
    END;
END;
$$;
CREATE FUNCTION pgmq._get_pg_partman_major_version() RETURNS integer
    LANGUAGE sql
    AS $$
  SELECT split_part(extversion, '.', 1)::INT
  FROM pg_extension
  WHERE extname = 'pg_partman'
$$;
CREATE FUNCTION pgmq._get_pg_partman_schema() RETURNS text
    LANGUAGE sql
    AS $$
  SELECT
    extnamespace::regnamespace::text
  FROM
    pg_extension
  WHERE
    extname = 'pg_partman';
$$;
CREATE FUNCTION pgmq._send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay timestamp with time zone) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
            $QUERY$
        INSERT INTO pgmq.%I (vt, message, headers)
        SELECT $2, unnest($1), unnest(coalesce($3, ARRAY[]::jsonb[]))
        RETURNING msg_id;
        $QUERY$,
            qtable
           );
    RETURN QUERY EXECUTE sql USING msgs, delay, headers;
END;
$_$;
CREATE FUNCTION pgmq._validate_batch_params(msgs jsonb[], headers jsonb[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- Validate that msgs is not NULL or empty
    IF msgs IS NULL OR array_length(msgs, 1) IS NULL THEN
        RAISE EXCEPTION 'msgs cannot be NULL or empty';
    END IF;
    -- Validate that headers array length matches msgs array length if headers is provided
    -- Note: array_length returns NULL for empty arrays, so we use COALESCE to treat empty arrays as length 0
    IF headers IS NOT NULL AND COALESCE(array_length(headers, 1), 0) != COALESCE(array_length(msgs, 1), 0) THEN
        RAISE EXCEPTION 'headers array length (%) must match msgs array length (%)',
            COALESCE(array_length(headers, 1), 0), COALESCE(array_length(msgs, 1), 0);
    END IF;
END;
$$;
CREATE FUNCTION pgmq.acquire_queue_lock(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('pgmq.queue_' || queue_name));
END;
$$;
CREATE FUNCTION pgmq.archive(queue_name text, msg_ids bigint[]) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
    atable TEXT := pgmq.format_table_name(queue_name, 'a');
BEGIN
    sql := FORMAT(
        $QUERY$
        WITH archived AS (
            DELETE FROM pgmq.%I
            WHERE msg_id = ANY($1)
            RETURNING msg_id, vt, read_ct, enqueued_at, last_read_at, message, headers
        )
        INSERT INTO pgmq.%I (msg_id, vt, read_ct, enqueued_at, last_read_at, message, headers)
        SELECT msg_id, vt, read_ct, enqueued_at, last_read_at, message, headers
        FROM archived
        RETURNING msg_id;
        $QUERY$,
        qtable, atable
    );
    RETURN QUERY EXECUTE sql USING msg_ids;
END;
$_$;
CREATE FUNCTION pgmq.archive(queue_name text, msg_id bigint) RETURNS boolean
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    result BIGINT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
    atable TEXT := pgmq.format_table_name(queue_name, 'a');
BEGIN
    sql := FORMAT(
        $QUERY$
        WITH archived AS (
            DELETE FROM pgmq.%I
            WHERE msg_id = $1
            RETURNING msg_id, vt, read_ct, enqueued_at, last_read_at, message, headers
        )
        INSERT INTO pgmq.%I (msg_id, vt, read_ct, enqueued_at, last_read_at, message, headers)
        SELECT msg_id, vt, read_ct, enqueued_at, last_read_at, message, headers
        FROM archived
        RETURNING msg_id;
        $QUERY$,
        qtable, atable
    );
    EXECUTE sql USING msg_id INTO result;
    RETURN NOT (result IS NULL);
END;
$_$;
CREATE FUNCTION pgmq.bind_topic(pattern text, queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pgmq.validate_topic_pattern(pattern);
    IF queue_name IS NULL OR queue_name = '' THEN
        RAISE EXCEPTION 'queue_name cannot be NULL or empty';
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pgmq.meta WHERE meta.queue_name = bind_topic.queue_name) THEN
        RAISE EXCEPTION 'Queue "%" does not exist. Create the queue first using pgmq.create()', queue_name;
    END IF;
    INSERT INTO pgmq.topic_bindings (pattern, queue_name)
    VALUES (pattern, queue_name)
    ON CONFLICT ON CONSTRAINT topic_bindings_unique_pattern_queue DO NOTHING;
END;
$$;
CREATE FUNCTION pgmq.convert_archive_partitioned(table_name text, partition_interval text DEFAULT '10000'::text, retention_interval text DEFAULT '100000'::text, leading_partition integer DEFAULT 10) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
  a_table_name TEXT := pgmq.format_table_name(table_name, 'a');
  a_table_name_old TEXT := pgmq.format_table_name(table_name, 'a') || '_old';
  qualified_a_table_name TEXT := format('pgmq.%I', a_table_name);
  partition_col TEXT;
  a_partition_col TEXT;
BEGIN
  PERFORM c.relkind
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = a_table_name
    AND c.relkind = 'p';
  IF FOUND THEN
    RAISE NOTICE 'Table %s is already partitioned', a_table_name;
    RETURN;
  END IF;
  PERFORM c.relkind
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = a_table_name
    AND c.relkind = 'r';
  IF NOT FOUND THEN
    RAISE NOTICE 'Table %s does not exists', a_table_name;
    RETURN;
  END IF;
  SELECT pgmq._get_partition_col(partition_interval) INTO partition_col;
  -- For archive tables, use archived_at for time-based partitioning
  IF partition_col = 'enqueued_at' THEN
    a_partition_col := 'archived_at';
  ELSE
    a_partition_col := partition_col;
  END IF;
  EXECUTE 'ALTER TABLE ' || qualified_a_table_name || ' RENAME TO ' || a_table_name_old;
  -- When partitioning by time (archived_at), we need to exclude constraints and indexes
  -- because the existing PRIMARY KEY on msg_id alone is incompatible with partitioning by archived_at.
  -- When partitioning by msg_id, we can keep all constraints including PRIMARY KEY.
  IF a_partition_col = 'archived_at' THEN
    EXECUTE format( 'CREATE TABLE pgmq.%I (LIKE pgmq.%I including defaults including generated including storage including comments) PARTITION BY RANGE (%I)', a_table_name, a_table_name_old, a_partition_col );
  ELSE
    EXECUTE format( 'CREATE TABLE pgmq.%I (LIKE pgmq.%I including all) PARTITION BY RANGE (%I)', a_table_name, a_table_name_old, a_partition_col );
  END IF;
  EXECUTE 'ALTER INDEX pgmq.archived_at_idx_' || table_name || ' RENAME TO archived_at_idx_' || table_name || '_old';
  EXECUTE 'CREATE INDEX archived_at_idx_'|| table_name || ' ON ' || qualified_a_table_name ||'(archived_at)';
  -- https://github.com/pgpartman/pg_partman/blob/master/doc/pg_partman.md
  -- p_parent_table - the existing parent table. MUST be schema qualified, even if in public schema.
  EXECUTE FORMAT(
    $QUERY$
    SELECT %I.create_parent(
      p_parent_table := %L,
      p_control := %L,
      p_interval := %L,
      p_type := case
        when pgmq._get_pg_partman_major_version() = 5 then 'range'
        else 'native'
      end
    )
    $QUERY$,
    pgmq._get_pg_partman_schema(),
    qualified_a_table_name,
    a_partition_col,
    partition_interval
  );
  EXECUTE FORMAT(
    $QUERY$
    UPDATE %I.part_config
    SET
      retention = %L,
      retention_keep_table = false,
      retention_keep_index = false,
      infinite_time_partitions = true
    WHERE
      parent_table = %L;
    $QUERY$,
    pgmq._get_pg_partman_schema(),
    retention_interval,
    qualified_a_table_name
  );
END;
$_$;
CREATE FUNCTION pgmq."create"(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pgmq.create_non_partitioned(queue_name);
END;
$$;
CREATE FUNCTION pgmq.create_fifo_index(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pgmq._create_fifo_index_if_not_exists(queue_name);
END;
$$;
CREATE FUNCTION pgmq.create_fifo_indexes_all() RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    queue_record RECORD;
BEGIN
    FOR queue_record IN SELECT queue_name FROM pgmq.meta LOOP
        PERFORM pgmq.create_fifo_index(queue_record.queue_name);
    END LOOP;
END;
$$;
CREATE FUNCTION pgmq.create_non_partitioned(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
  qtable TEXT := pgmq.format_table_name(queue_name, 'q');
  qtable_seq TEXT := qtable || '_msg_id_seq';
  atable TEXT := pgmq.format_table_name(queue_name, 'a');
BEGIN
  PERFORM pgmq.validate_queue_name(queue_name);
  PERFORM pgmq.acquire_queue_lock(queue_name);
  EXECUTE FORMAT(
    $QUERY$
    CREATE TABLE IF NOT EXISTS pgmq.%I (
        msg_id BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        read_ct INT DEFAULT 0 NOT NULL,
        enqueued_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        last_read_at TIMESTAMP WITH TIME ZONE,
        vt TIMESTAMP WITH TIME ZONE NOT NULL,
        message JSONB,
        headers JSONB
    )
    $QUERY$,
    qtable
  );
  EXECUTE FORMAT(
    $QUERY$
    CREATE TABLE IF NOT EXISTS pgmq.%I (
      msg_id BIGINT PRIMARY KEY,
      read_ct INT DEFAULT 0 NOT NULL,
      enqueued_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
      last_read_at TIMESTAMP WITH TIME ZONE,
      archived_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
      vt TIMESTAMP WITH TIME ZONE NOT NULL,
      message JSONB,
      headers JSONB
    );
    $QUERY$,
    atable
  );
  EXECUTE FORMAT(
    $QUERY$
    CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (vt ASC);
    $QUERY$,
    qtable || '_vt_idx', qtable
  );
  EXECUTE FORMAT(
    $QUERY$
    CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (archived_at);
    $QUERY$,
    'archived_at_idx_' || queue_name, atable
  );
  EXECUTE FORMAT(
    $QUERY$
    INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged)
    VALUES (%L, false, false)
    ON CONFLICT
    DO NOTHING;
    $QUERY$,
    queue_name
  );
END;
$_$;
CREATE FUNCTION pgmq.create_partitioned(queue_name text, partition_interval text DEFAULT '10000'::text, retention_interval text DEFAULT '100000'::text, premake integer DEFAULT 4) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
  partition_col TEXT;
  a_partition_col TEXT;
  qtable TEXT := pgmq.format_table_name(queue_name, 'q');
  qtable_seq TEXT := qtable || '_msg_id_seq';
  atable TEXT := pgmq.format_table_name(queue_name, 'a');
  fq_qtable TEXT := 'pgmq.' || qtable;
  fq_atable TEXT := 'pgmq.' || atable;
BEGIN
  PERFORM pgmq.validate_queue_name(queue_name);
  PERFORM pgmq.acquire_queue_lock(queue_name);
  PERFORM pgmq._ensure_pg_partman_installed();
  IF premake < 1 THEN
    RAISE EXCEPTION 'premake must be at least 1, got %', premake;
  END IF;
  SELECT pgmq._get_partition_col(partition_interval) INTO partition_col;
  EXECUTE FORMAT(
    $QUERY$
    CREATE TABLE IF NOT EXISTS pgmq.%I (
        msg_id BIGINT GENERATED BY DEFAULT AS IDENTITY,
        read_ct INT DEFAULT 0 NOT NULL,
        enqueued_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        last_read_at TIMESTAMP WITH TIME ZONE,
        vt TIMESTAMP WITH TIME ZONE NOT NULL,
        message JSONB,
        headers JSONB
    ) PARTITION BY RANGE (%I)
    $QUERY$,
    qtable, partition_col
  );
  -- https://github.com/pgpartman/pg_partman/blob/master/doc/pg_partman.md
  -- p_parent_table - the existing parent table. MUST be schema qualified, even if in public schema.
  EXECUTE FORMAT(
    $QUERY$
    SELECT %I.create_parent(
      p_parent_table := %L,
      p_control := %L,
      p_interval := %L,
      p_premake := %s,
      p_type := case
        when pgmq._get_pg_partman_major_version() = 5 then 'range'
        else 'native'
      end
    )
    $QUERY$,
    pgmq._get_pg_partman_schema(),
    fq_qtable,
    partition_col,
    partition_interval,
    premake
  );
  EXECUTE FORMAT(
    $QUERY$
    CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (%I);
    $QUERY$,
    qtable || '_part_idx', qtable, partition_col
  );
  EXECUTE FORMAT(
    $QUERY$
    UPDATE %I.part_config
    SET
        retention = %L,
        retention_keep_table = false,
        retention_keep_index = true,
        automatic_maintenance = 'on'
    WHERE parent_table = %L;
    $QUERY$,
    pgmq._get_pg_partman_schema(),
    retention_interval,
    'pgmq.' || qtable
  );
  EXECUTE FORMAT(
    $QUERY$
    INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged)
    VALUES (%L, true, false)
    ON CONFLICT
    DO NOTHING;
    $QUERY$,
    queue_name
  );
  IF partition_col = 'enqueued_at' THEN
    a_partition_col := 'archived_at';
  ELSE
    a_partition_col := partition_col;
  END IF;
  EXECUTE FORMAT(
    $QUERY$
    CREATE TABLE IF NOT EXISTS pgmq.%I (
      msg_id BIGINT NOT NULL,
      read_ct INT DEFAULT 0 NOT NULL,
      enqueued_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
      last_read_at TIMESTAMP WITH TIME ZONE,
      archived_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
      vt TIMESTAMP WITH TIME ZONE NOT NULL,
      message JSONB,
      headers JSONB
    ) PARTITION BY RANGE (%I);
    $QUERY$,
    atable, a_partition_col
  );
  -- https://github.com/pgpartman/pg_partman/blob/master/doc/pg_partman.md
  -- p_parent_table - the existing parent table. MUST be schema qualified, even if in public schema.
  EXECUTE FORMAT(
    $QUERY$
    SELECT %I.create_parent(
      p_parent_table := %L,
      p_control := %L,
      p_interval := %L,
      p_premake := %s,
      p_type := case
        when pgmq._get_pg_partman_major_version() = 5 then 'range'
        else 'native'
      end
    )
    $QUERY$,
    pgmq._get_pg_partman_schema(),
    fq_atable,
    a_partition_col,
    partition_interval,
    premake
  );
  EXECUTE FORMAT(
    $QUERY$
    UPDATE %I.part_config
    SET
        retention = %L,
        retention_keep_table = false,
        retention_keep_index = true,
        automatic_maintenance = 'on'
    WHERE parent_table = %L;
    $QUERY$,
    pgmq._get_pg_partman_schema(),
    retention_interval,
    'pgmq.' || atable
  );
  EXECUTE FORMAT(
    $QUERY$
    CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (archived_at);
    $QUERY$,
    'archived_at_idx_' || queue_name, atable
  );
END;
$_$;
CREATE FUNCTION pgmq.create_unlogged(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
  qtable TEXT := pgmq.format_table_name(queue_name, 'q');
  qtable_seq TEXT := qtable || '_msg_id_seq';
  atable TEXT := pgmq.format_table_name(queue_name, 'a');
BEGIN
  PERFORM pgmq.validate_queue_name(queue_name);
  PERFORM pgmq.acquire_queue_lock(queue_name);
  EXECUTE FORMAT(
    $QUERY$
    CREATE UNLOGGED TABLE IF NOT EXISTS pgmq.%I (
        msg_id BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        read_ct INT DEFAULT 0 NOT NULL,
        enqueued_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        last_read_at TIMESTAMP WITH TIME ZONE,
        vt TIMESTAMP WITH TIME ZONE NOT NULL,
        message JSONB,
        headers JSONB
    )
    $QUERY$,
    qtable
  );
  EXECUTE FORMAT(
    $QUERY$
    CREATE TABLE IF NOT EXISTS pgmq.%I (
      msg_id BIGINT PRIMARY KEY,
      read_ct INT DEFAULT 0 NOT NULL,
      enqueued_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
      last_read_at TIMESTAMP WITH TIME ZONE,
      archived_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
      vt TIMESTAMP WITH TIME ZONE NOT NULL,
      message JSONB,
      headers JSONB
    );
    $QUERY$,
    atable
  );
  EXECUTE FORMAT(
    $QUERY$
    CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (vt ASC);
    $QUERY$,
    qtable || '_vt_idx', qtable
  );
  EXECUTE FORMAT(
    $QUERY$
    CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (archived_at);
    $QUERY$,
    'archived_at_idx_' || queue_name, atable
  );
  EXECUTE FORMAT(
    $QUERY$
    INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged)
    VALUES (%L, false, true)
    ON CONFLICT
    DO NOTHING;
    $QUERY$,
    queue_name
  );
END;
$_$;
CREATE FUNCTION pgmq.delete(queue_name text, msg_ids bigint[]) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        DELETE FROM pgmq.%I
        WHERE msg_id = ANY($1)
        RETURNING msg_id
        $QUERY$,
        qtable
    );
    RETURN QUERY EXECUTE sql USING msg_ids;
END;
$_$;
CREATE FUNCTION pgmq.delete(queue_name text, msg_id bigint) RETURNS boolean
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    result BIGINT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        DELETE FROM pgmq.%I
        WHERE msg_id = $1
        RETURNING msg_id
        $QUERY$,
        qtable
    );
    EXECUTE sql USING msg_id INTO result;
    RETURN NOT (result IS NULL);
END;
$_$;
CREATE FUNCTION pgmq.detach_archive(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
  atable TEXT := pgmq.format_table_name(queue_name, 'a');
BEGIN
  RAISE WARNING 'detach_archive(queue_name) is deprecated and is a no-op. It will be removed in PGMQ v2.0. Archive tables are no longer member objects.';
END
$$;
CREATE FUNCTION pgmq.disable_notify_insert(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
  qtable TEXT := pgmq.format_table_name(queue_name, 'q');
  v_queue_name TEXT := queue_name;
BEGIN
  EXECUTE FORMAT(
    $QUERY$
    DROP TRIGGER IF EXISTS trigger_notify_queue_insert_listeners ON pgmq.%I;
    $QUERY$,
    qtable
  );
  DELETE FROM pgmq.notify_insert_throttle nit WHERE nit.queue_name = v_queue_name;
END;
$_$;
CREATE FUNCTION pgmq.drop_queue(queue_name text) RETURNS boolean
    LANGUAGE plpgsql
    AS $_$
DECLARE
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
    qtable_seq TEXT := qtable || '_msg_id_seq';
    fq_qtable TEXT := 'pgmq.' || qtable;
    atable TEXT := pgmq.format_table_name(queue_name, 'a');
    fq_atable TEXT := 'pgmq.' || atable;
    partitioned BOOLEAN;
BEGIN
    PERFORM pgmq.acquire_queue_lock(queue_name);
    EXECUTE FORMAT(
        $QUERY$
        SELECT is_partitioned FROM pgmq.meta WHERE queue_name = %L
        $QUERY$,
        queue_name
    ) INTO partitioned;
    -- check if the queue exists
    IF NOT EXISTS (
        SELECT 1
        FROM information_schema.tables
        WHERE table_name = qtable and table_schema = 'pgmq'
    ) THEN
        RAISE NOTICE 'pgmq queue `%` does not exist', queue_name;
        RETURN FALSE;
    END IF;
    EXECUTE FORMAT(
        $QUERY$
        DROP TABLE IF EXISTS pgmq.%I
        $QUERY$,
        qtable
    );
    EXECUTE FORMAT(
        $QUERY$
        DROP TABLE IF EXISTS pgmq.%I
        $QUERY$,
        atable
    );
     IF EXISTS (
          SELECT 1
          FROM information_schema.tables
          WHERE table_name = 'meta' and table_schema = 'pgmq'
     ) THEN
        EXECUTE FORMAT(
            $QUERY$
            DELETE FROM pgmq.meta WHERE queue_name = %L
            $QUERY$,
            queue_name
        );
     END IF;
     IF partitioned THEN
        EXECUTE FORMAT(
          $QUERY$
          DELETE FROM %I.part_config where parent_table in (%L, %L)
          $QUERY$,
          pgmq._get_pg_partman_schema(), fq_qtable, fq_atable
        );
     END IF;
    RETURN TRUE;
END;
$_$;
CREATE FUNCTION pgmq.drop_queue(queue_name text, partitioned boolean) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
DECLARE
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
    fq_qtable TEXT := 'pgmq.' || qtable;
    atable TEXT := pgmq.format_table_name(queue_name, 'a');
    fq_atable TEXT := 'pgmq.' || atable;
BEGIN
    RAISE WARNING 'drop_queue(queue_name, partitioned) is deprecated and will be removed in PGMQ v2.0. Use drop_queue(queue_name) instead';
    PERFORM pgmq.drop_queue(queue_name);
    RETURN TRUE;
END;
$$;
CREATE FUNCTION pgmq.enable_notify_insert(queue_name text, throttle_interval_ms integer DEFAULT 250) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
  qtable TEXT := pgmq.format_table_name(queue_name, 'q');
  v_queue_name TEXT := queue_name;
  v_throttle_interval_ms INTEGER := throttle_interval_ms;
BEGIN
  -- Validate that throttle_interval_ms is non-negative
  IF v_throttle_interval_ms < 0 THEN
    RAISE EXCEPTION 'throttle_interval_ms must be non-negative';
  END IF;
  -- Validate that the queue table exists
  IF NOT EXISTS (SELECT 1 FROM information_schema.tables WHERE table_schema = 'pgmq' AND table_name = qtable) THEN
    RAISE EXCEPTION 'Queue "%" does not exist. Create it first using pgmq.create()', v_queue_name;
  END IF;
  PERFORM pgmq.disable_notify_insert(v_queue_name);
  INSERT INTO pgmq.notify_insert_throttle (queue_name, throttle_interval_ms)
  VALUES (v_queue_name, v_throttle_interval_ms)
  ON CONFLICT ON CONSTRAINT notify_insert_throttle_queue_name_key DO UPDATE
      SET throttle_interval_ms = EXCLUDED.throttle_interval_ms,
          last_notified_at = to_timestamp(0);
  EXECUTE FORMAT(
    $QUERY$
    CREATE CONSTRAINT TRIGGER trigger_notify_queue_insert_listeners
    AFTER INSERT ON pgmq.%I
    DEFERRABLE FOR EACH ROW
    EXECUTE PROCEDURE pgmq.notify_queue_listeners()
    $QUERY$,
    qtable
  );
END;
$_$;
CREATE FUNCTION pgmq.format_table_name(queue_name text, prefix text) RETURNS text
    LANGUAGE plpgsql
    AS $_$
BEGIN
    IF queue_name ~ '\$|;|--|'''
    THEN
        RAISE EXCEPTION 'queue name contains invalid characters: $, ;, --, or \''';
    END IF;
    RETURN lower(prefix || '_' || queue_name);
END;
$_$;
CREATE FUNCTION pgmq.list_notify_insert_throttles() RETURNS TABLE(queue_name text, throttle_interval_ms integer, last_notified_at timestamp with time zone)
    LANGUAGE sql STABLE
    AS $$
    SELECT queue_name, throttle_interval_ms, last_notified_at
    FROM pgmq.notify_insert_throttle
    ORDER BY queue_name;
$$;
CREATE FUNCTION pgmq.list_queues() RETURNS SETOF pgmq.queue_record
    LANGUAGE plpgsql
    AS $$
BEGIN
  RETURN QUERY SELECT * FROM pgmq.meta;
END
$$;
CREATE FUNCTION pgmq.list_topic_bindings() RETURNS TABLE(pattern text, queue_name text, bound_at timestamp with time zone, compiled_regex text)
    LANGUAGE sql STABLE
    AS $$
    SELECT pattern, queue_name, bound_at, compiled_regex
    FROM pgmq.topic_bindings
    ORDER BY bound_at DESC, pattern, queue_name;
$$;
CREATE FUNCTION pgmq.list_topic_bindings(queue_name text) RETURNS TABLE(pattern text, queue_name text, bound_at timestamp with time zone, compiled_regex text)
    LANGUAGE sql STABLE
    AS $$
    SELECT pattern, tb.queue_name, bound_at, compiled_regex
    FROM pgmq.topic_bindings tb
    WHERE tb.queue_name = list_topic_bindings.queue_name
    ORDER BY bound_at DESC, pattern;
$$;
CREATE FUNCTION pgmq.metrics(queue_name text) RETURNS pgmq.metrics_result
    LANGUAGE plpgsql
    AS $_$
DECLARE
    result_row pgmq.metrics_result;
    query TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
    q_default_partition TEXT := qtable || '_default';
    a_default_partition TEXT := pgmq.format_table_name(queue_name, 'a') || '_default';
    default_partition_length BIGINT;
BEGIN
    -- Only partitioned queues have default partitions. Messages in them have no
    -- partition of their own, which means pg_partman maintenance is failing for
    -- this queue; a non-zero value here is the signal to act on. The planner's
    -- estimate is used so that a large spill does not slow down every scrape.
    IF to_regclass(FORMAT('pgmq.%I', q_default_partition)) IS NOT NULL THEN
        SELECT COALESCE(SUM(GREATEST(c.reltuples, 0))::bigint, 0)
        INTO default_partition_length
        FROM pg_class c
        WHERE c.oid IN (
            to_regclass(FORMAT('pgmq.%I', q_default_partition)),
            to_regclass(FORMAT('pgmq.%I', a_default_partition))
        );
    END IF;
    query := FORMAT(
        $QUERY$
        WITH q_summary AS (
            SELECT
                count(*) as queue_length,
                count(CASE WHEN vt <= NOW() THEN 1 END) as queue_visible_length,
                EXTRACT(epoch FROM (NOW() - max(enqueued_at)))::int as newest_msg_age_sec,
                EXTRACT(epoch FROM (NOW() - min(enqueued_at)))::int as oldest_msg_age_sec,
                NOW() as scrape_time
            FROM pgmq.%I
        ),
        all_metrics AS (
            SELECT CASE
                WHEN is_called THEN last_value ELSE 0
                END as total_messages
            FROM pgmq.%I
        )
        SELECT
            %L as queue_name,
            q_summary.queue_length,
            q_summary.newest_msg_age_sec,
            q_summary.oldest_msg_age_sec,
            all_metrics.total_messages,
            q_summary.scrape_time,
            q_summary.queue_visible_length,
            %L::bigint as default_partition_length
        FROM q_summary, all_metrics
        $QUERY$,
        qtable, qtable || '_msg_id_seq', queue_name, default_partition_length
    );
    EXECUTE query INTO result_row;
    RETURN result_row;
END;
$_$;
CREATE FUNCTION pgmq.metrics_all() RETURNS SETOF pgmq.metrics_result
    LANGUAGE plpgsql
    AS $$
DECLARE
    row_name RECORD;
    result_row pgmq.metrics_result;
BEGIN
    FOR row_name IN SELECT queue_name FROM pgmq.meta LOOP
        result_row := pgmq.metrics(row_name.queue_name);
        RETURN NEXT result_row;
    END LOOP;
END;
$$;
CREATE FUNCTION pgmq.notify_queue_listeners() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
  queue_name_extracted TEXT; -- Queue name extracted from trigger table name
  updated_count        INTEGER; -- Number of rows updated (0 or 1)
BEGIN
  queue_name_extracted := substring(TG_TABLE_NAME from 3);
  UPDATE pgmq.notify_insert_throttle
  SET last_notified_at = clock_timestamp()
  WHERE queue_name = queue_name_extracted
    AND (
      throttle_interval_ms = 0 -- No throttling configured
          OR clock_timestamp() - last_notified_at >=
             (throttle_interval_ms * INTERVAL '1 millisecond') -- Throttle interval has elapsed
    );
  -- Check how many rows were updated (will be 0 or 1)
  GET DIAGNOSTICS updated_count = ROW_COUNT;
  IF updated_count > 0 THEN
    PERFORM PG_NOTIFY('pgmq.' || TG_TABLE_NAME || '.' || TG_OP, NULL);
  END IF;
RETURN NEW;
END;
$$;
CREATE FUNCTION pgmq.pop(queue_name text, qty integer DEFAULT 1) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    result pgmq.message_record;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        WITH cte AS
            (
                SELECT msg_id
                FROM pgmq.%I
                WHERE vt <= clock_timestamp()
                ORDER BY msg_id ASC
                LIMIT $1
                FOR UPDATE SKIP LOCKED
            )
        DELETE from pgmq.%I
        WHERE msg_id IN (select msg_id from cte)
        RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers;
        $QUERY$,
        qtable, qtable
    );
    RETURN QUERY EXECUTE sql USING qty;
END;
$_$;
CREATE FUNCTION pgmq.purge_queue(queue_name text) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
  deleted_count INTEGER;
  qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
  -- Get the row count before truncating
  EXECUTE format('SELECT count(*) FROM pgmq.%I', qtable) INTO deleted_count;
  -- Use TRUNCATE for better performance on large tables
  EXECUTE format('TRUNCATE TABLE pgmq.%I', qtable);
  -- Return the number of purged rows
  RETURN deleted_count;
END
$$;
CREATE FUNCTION pgmq.read(queue_name text, vt integer, qty integer, conditional jsonb DEFAULT '{}'::jsonb) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        WITH cte AS
        (
            SELECT msg_id
            FROM pgmq.%I
            WHERE vt <= clock_timestamp() AND CASE
                WHEN %L != '{}'::jsonb THEN (message @> %2$L)::integer
                ELSE 1
            END = 1
            ORDER BY msg_id ASC
            LIMIT $1
            FOR UPDATE SKIP LOCKED
        )
        UPDATE pgmq.%I m
        SET
            last_read_at = clock_timestamp(),
            vt = clock_timestamp() + %L,
            read_ct = read_ct + 1
        FROM cte
        WHERE m.msg_id = cte.msg_id
        RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.last_read_at, m.vt, m.message, m.headers;
        $QUERY$,
        qtable, conditional, qtable, make_interval(secs => vt)
    );
    RETURN QUERY EXECUTE sql USING qty;
END;
$_$;
CREATE FUNCTION pgmq.read_grouped(queue_name text, vt integer, qty integer) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        WITH fifo_groups AS (
            -- Find the minimum msg_id for each FIFO group that's ready to be processed
            SELECT
                COALESCE(headers->>'x-pgmq-group', '_default_fifo_group') as fifo_key,
                MIN(msg_id) as min_msg_id
            FROM pgmq.%I
            WHERE vt <= clock_timestamp()
            GROUP BY COALESCE(headers->>'x-pgmq-group', '_default_fifo_group')
        ),
        locked_groups AS (
            -- Lock the first available message in each FIFO group
            SELECT
                m.msg_id,
                fg.fifo_key
            FROM pgmq.%I m
            INNER JOIN fifo_groups fg ON
                COALESCE(m.headers->>'x-pgmq-group', '_default_fifo_group') = fg.fifo_key
                AND m.msg_id = fg.min_msg_id
            WHERE m.vt <= clock_timestamp()
            ORDER BY m.msg_id ASC
            FOR UPDATE SKIP LOCKED
        ),
        group_priorities AS (
            -- Assign priority to groups based on their oldest message
            SELECT
                fifo_key,
                msg_id as min_msg_id,
                ROW_NUMBER() OVER (ORDER BY msg_id) as group_priority
            FROM locked_groups
        ),
        filtered_groups as (
            SELECT * FROM group_priorities gp
            WHERE NOT EXISTS (
                -- Ensure no earlier message in this group is currently being processed
                SELECT 1
                FROM pgmq.%I m2
                WHERE COALESCE(m2.headers->>'x-pgmq-group', '_default_fifo_group') = gp.fifo_key
                AND m2.vt > clock_timestamp()
                AND m2.msg_id < gp.min_msg_id
            )
        ),
        available_messages as (
            SELECT gp.fifo_key, t.msg_id,gp.group_priority,
                ROW_NUMBER() OVER (PARTITION BY gp.fifo_key ORDER BY t.msg_id) as msg_rank_in_group
            FROM filtered_groups gp
            CROSS JOIN LATERAL (
                SELECT *
                FROM pgmq.%I t
                WHERE COALESCE(t.headers->>'x-pgmq-group', '_default_fifo_group') = gp.fifo_key
                AND t.vt <= clock_timestamp()
                ORDER BY msg_id
                LIMIT $1  -- tip to limit query impact, we know we need at most qty in each group
            ) t
            ORDER BY gp.group_priority
        ),
        batch_selection AS (
            -- Select messages to fill batch, prioritizing earliest group
            SELECT
                msg_id,
                ROW_NUMBER() OVER (ORDER BY group_priority, msg_rank_in_group) as overall_rank
            FROM available_messages
        ),
        selected_messages AS (
            -- Limit to requested quantity
            SELECT msg_id
            FROM batch_selection
            WHERE overall_rank <= $1
            ORDER BY msg_id
            FOR UPDATE SKIP LOCKED
        )
        UPDATE pgmq.%I m
        SET
            vt = clock_timestamp() + %L,
            read_ct = read_ct + 1,
            last_read_at = clock_timestamp()
        FROM selected_messages sm
        WHERE m.msg_id = sm.msg_id
        RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.last_read_at, m.vt, m.message, m.headers;
        $QUERY$,
        qtable, qtable, qtable, qtable, qtable, make_interval(secs => vt)
    );
    RETURN QUERY EXECUTE sql USING qty;
END;
$_$;
CREATE FUNCTION pgmq.read_grouped_head(queue_name text, vt integer, qty integer) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        WITH fifo_groups AS (
            -- Determine the absolute head (oldest) message id per FIFO group, regardless of visibility
            SELECT
                COALESCE(headers->>'x-pgmq-group', '_default_fifo_group') AS fifo_key,
                MIN(msg_id) AS head_msg_id
            FROM pgmq.%1$I
            GROUP BY COALESCE(headers->>'x-pgmq-group', '_default_fifo_group')
        ),
        selected_messages AS (
            -- Take at most 1 message per group
            SELECT g.head_msg_id msg_id
            FROM fifo_groups g
            JOIN pgmq.%1$I q ON q.msg_id = g.head_msg_id
	        WHERE q.vt <= clock_timestamp()
            ORDER BY q.msg_id
            LIMIT $1
            FOR UPDATE SKIP LOCKED
        )
        UPDATE pgmq.%1$I m
        SET
            vt = clock_timestamp() + %2$L,
            read_ct = read_ct + 1,
            last_read_at = clock_timestamp()
        FROM selected_messages sm
        WHERE m.msg_id = sm.msg_id
        RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.last_read_at, m.vt, m.message, m.headers;
        $QUERY$,
        qtable, make_interval(secs => vt)
    );
    RETURN QUERY EXECUTE sql USING qty;
END;
$_$;
CREATE FUNCTION pgmq.read_grouped_head_with_poll(queue_name text, vt integer, qty integer, max_poll_seconds integer DEFAULT 5, poll_interval_ms integer DEFAULT 100) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $$
DECLARE
    r pgmq.message_record;
    stop_at TIMESTAMPTZ;
BEGIN
    stop_at := clock_timestamp() + make_interval(secs => max_poll_seconds);
    LOOP
      IF clock_timestamp() >= stop_at THEN
        RETURN;
      END IF;
      FOR r IN
        SELECT * FROM pgmq.read_grouped_head(queue_name, vt, qty)
      LOOP
        RETURN NEXT r;
      END LOOP;
      IF FOUND THEN
        RETURN;
      ELSE
        PERFORM pg_sleep(poll_interval_ms::numeric / 1000);
      END IF;
    END LOOP;
END;
$$;
CREATE FUNCTION pgmq.read_grouped_rr(queue_name text, vt integer, qty integer) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        WITH fifo_groups AS (
            -- Determine the absolute head (oldest) message id per FIFO group, regardless of visibility
            SELECT
                COALESCE(headers->>'x-pgmq-group', '_default_fifo_group') AS fifo_key,
                MIN(msg_id) AS head_msg_id
            FROM pgmq.%1$I
            GROUP BY COALESCE(headers->>'x-pgmq-group', '_default_fifo_group')
        ),
        eligible_groups AS (
            -- Only groups whose head message is currently visible
            -- Acquire a transaction-level advisory lock per group to prevent concurrent selection
            SELECT
                g.fifo_key,
                g.head_msg_id,
                ROW_NUMBER() OVER (ORDER BY g.head_msg_id) AS group_priority
            FROM fifo_groups g
            JOIN pgmq.%2$I h ON h.msg_id = g.head_msg_id
            WHERE h.vt <= clock_timestamp()
              AND pg_try_advisory_xact_lock(pg_catalog.hashtextextended(g.fifo_key, 0))
        ),
        available_messages AS (
            -- All currently visible messages starting at the head for each eligible group
            SELECT
                m.msg_id,
                eg.group_priority,
                ROW_NUMBER() OVER (
                    PARTITION BY eg.fifo_key
                    ORDER BY m.msg_id
                ) AS msg_rank_in_group
            FROM pgmq.%3$I m
            JOIN eligible_groups eg
              ON COALESCE(m.headers->>'x-pgmq-group', '_default_fifo_group') = eg.fifo_key
            WHERE m.vt <= clock_timestamp()
              AND m.msg_id >= eg.head_msg_id
        ),
        ordered_messages AS (
            -- Layered round-robin: take rank 1 of all groups by group_priority, then rank 2, etc.
            -- Assign selection order before locking
            SELECT msg_id, ROW_NUMBER() OVER (ORDER BY msg_rank_in_group, group_priority) as selection_order
            FROM available_messages
        ),
        selected_messages AS (
            -- Lock the messages in the correct order, preserving selection_order
            SELECT om.msg_id, om.selection_order
            FROM ordered_messages om
            JOIN pgmq.%4$I m ON m.msg_id = om.msg_id
            WHERE om.selection_order <= $1
            ORDER BY om.selection_order
            FOR UPDATE OF m SKIP LOCKED
        ),
        updated_messages AS (
            UPDATE pgmq.%5$I m
            SET
                vt = clock_timestamp() + %6$L,
                read_ct = read_ct + 1,
                last_read_at = clock_timestamp()
            FROM selected_messages sm
            WHERE m.msg_id = sm.msg_id
              AND m.vt <= clock_timestamp() -- final guard to avoid duplicate reads under races
            RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.last_read_at, m.vt, m.message, m.headers, sm.selection_order
        )
        SELECT msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers
        FROM updated_messages
        ORDER BY selection_order;
        $QUERY$,
        qtable, qtable, qtable, qtable, qtable, make_interval(secs => vt)
    );
    RETURN QUERY EXECUTE sql USING qty;
END;
$_$;
CREATE FUNCTION pgmq.read_grouped_rr_with_poll(queue_name text, vt integer, qty integer, max_poll_seconds integer DEFAULT 5, poll_interval_ms integer DEFAULT 100) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $$
DECLARE
    r pgmq.message_record;
    stop_at TIMESTAMP;
BEGIN
    stop_at := clock_timestamp() + make_interval(secs => max_poll_seconds);
    LOOP
      IF (SELECT clock_timestamp() >= stop_at) THEN
        RETURN;
      END IF;
      FOR r IN
        SELECT * FROM pgmq.read_grouped_rr(queue_name, vt, qty)
      LOOP
        RETURN NEXT r;
      END LOOP;
      IF FOUND THEN
        RETURN;
      ELSE
        PERFORM pg_sleep(poll_interval_ms::numeric / 1000);
      END IF;
    END LOOP;
END;
$$;
CREATE FUNCTION pgmq.read_grouped_with_poll(queue_name text, vt integer, qty integer, max_poll_seconds integer DEFAULT 5, poll_interval_ms integer DEFAULT 100) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $$
DECLARE
    r pgmq.message_record;
    stop_at TIMESTAMP;
BEGIN
    stop_at := clock_timestamp() + make_interval(secs => max_poll_seconds);
    LOOP
      IF (SELECT clock_timestamp() >= stop_at) THEN
        RETURN;
      END IF;
      FOR r IN
        SELECT * FROM pgmq.read_grouped(queue_name, vt, qty)
      LOOP
        RETURN NEXT r;
      END LOOP;
      IF FOUND THEN
        RETURN;
      ELSE
        PERFORM pg_sleep(poll_interval_ms::numeric / 1000);
      END IF;
    END LOOP;
END;
$$;
CREATE FUNCTION pgmq.read_with_poll(queue_name text, vt integer, qty integer, max_poll_seconds integer DEFAULT 5, poll_interval_ms integer DEFAULT 100, conditional jsonb DEFAULT '{}'::jsonb) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    r pgmq.message_record;
    stop_at TIMESTAMP;
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    stop_at := clock_timestamp() + make_interval(secs => max_poll_seconds);
    LOOP
      IF (SELECT clock_timestamp() >= stop_at) THEN
        RETURN;
      END IF;
      sql := FORMAT(
          $QUERY$
          WITH cte AS
          (
              SELECT msg_id
              FROM pgmq.%I
              WHERE vt <= clock_timestamp() AND CASE
                  WHEN %L != '{}'::jsonb THEN (message @> %2$L)::integer
                  ELSE 1
              END = 1
              ORDER BY msg_id ASC
              LIMIT $1
              FOR UPDATE SKIP LOCKED
          )
          UPDATE pgmq.%I m
          SET
              last_read_at = clock_timestamp(),
              vt = clock_timestamp() + %L,
              read_ct = read_ct + 1
          FROM cte
          WHERE m.msg_id = cte.msg_id
          RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.last_read_at, m.vt, m.message, m.headers;
          $QUERY$,
          qtable, conditional, qtable, make_interval(secs => vt)
      );
      FOR r IN
        EXECUTE sql USING qty
      LOOP
        RETURN NEXT r;
      END LOOP;
      IF FOUND THEN
        RETURN;
      ELSE
        PERFORM pg_sleep(poll_interval_ms::numeric / 1000);
      END IF;
    END LOOP;
END;
$_$;
CREATE FUNCTION pgmq.send(queue_name text, msg jsonb) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send(queue_name, msg, NULL, clock_timestamp());
$$;
CREATE FUNCTION pgmq.send(queue_name text, msg jsonb, delay integer) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send(queue_name, msg, NULL, clock_timestamp() + make_interval(secs => delay));
$$;
CREATE FUNCTION pgmq.send(queue_name text, msg jsonb, headers jsonb) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send(queue_name, msg, headers, clock_timestamp());
$$;
CREATE FUNCTION pgmq.send(queue_name text, msg jsonb, delay timestamp with time zone) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send(queue_name, msg, NULL, delay);
$$;
CREATE FUNCTION pgmq.send(queue_name text, msg jsonb, headers jsonb, delay integer) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send(queue_name, msg, headers, clock_timestamp() + make_interval(secs => delay));
$$;
CREATE FUNCTION pgmq.send(queue_name text, msg jsonb, headers jsonb, delay timestamp with time zone) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
            $QUERY$
        INSERT INTO pgmq.%I (vt, message, headers)
        VALUES ($2, $1, $3)
        RETURNING msg_id;
        $QUERY$,
            qtable
           );
    RETURN QUERY EXECUTE sql USING msg, delay, headers;
END;
$_$;
CREATE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[]) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch(queue_name, msgs, NULL, clock_timestamp());
$$;
CREATE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[]) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch(queue_name, msgs, headers, clock_timestamp());
$$;
CREATE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], delay integer) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch(queue_name, msgs, NULL, clock_timestamp() + make_interval(secs => delay));
$$;
CREATE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], delay timestamp with time zone) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch(queue_name, msgs, NULL, delay);
$$;
CREATE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay integer) RETURNS SETOF bigint
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch(queue_name, msgs, headers, clock_timestamp() + make_interval(secs => delay));
$$;
CREATE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay timestamp with time zone) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pgmq._validate_batch_params(msgs, headers);
    RETURN QUERY SELECT * FROM pgmq._send_batch(queue_name, msgs, headers, delay);
END;
$$;
CREATE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[]) RETURNS TABLE(queue_name text, msg_id bigint)
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch_topic(routing_key, msgs, NULL, clock_timestamp());
$$;
CREATE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[], headers jsonb[]) RETURNS TABLE(queue_name text, msg_id bigint)
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch_topic(routing_key, msgs, headers, clock_timestamp());
$$;
CREATE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[], delay integer) RETURNS TABLE(queue_name text, msg_id bigint)
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch_topic(routing_key, msgs, NULL, clock_timestamp() + make_interval(secs => delay));
$$;
CREATE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[], delay timestamp with time zone) RETURNS TABLE(queue_name text, msg_id bigint)
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch_topic(routing_key, msgs, NULL, delay);
$$;
CREATE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[], headers jsonb[], delay integer) RETURNS TABLE(queue_name text, msg_id bigint)
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.send_batch_topic(routing_key, msgs, headers, clock_timestamp() + make_interval(secs => delay));
$$;
CREATE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[], headers jsonb[], delay timestamp with time zone) RETURNS TABLE(queue_name text, msg_id bigint)
    LANGUAGE plpgsql
    AS $$
DECLARE
    b RECORD;
BEGIN
    PERFORM pgmq.validate_routing_key(routing_key);
    -- Validate batch parameters once (not per queue)
    PERFORM pgmq._validate_batch_params(msgs, headers);
    -- Filter matching patterns in SQL for better performance (uses index)
    -- Any failure will rollback the entire transaction
    FOR b IN
        SELECT DISTINCT tb.queue_name
        FROM pgmq.topic_bindings tb
        WHERE routing_key ~ tb.compiled_regex
        ORDER BY tb.queue_name -- Deterministic ordering, deduplicated by queue_name
        LOOP
            -- Use private _send_batch to avoid redundant validation
            RETURN QUERY
            SELECT b.queue_name, batch_result.msg_id
            FROM pgmq._send_batch(b.queue_name, msgs, headers, delay) AS batch_result(msg_id);
        END LOOP;
    RETURN;
END;
$$;
CREATE FUNCTION pgmq.send_topic(routing_key text, msg jsonb) RETURNS integer
    LANGUAGE plpgsql
    AS $$
BEGIN
    RETURN pgmq.send_topic(routing_key, msg, NULL, 0);
END;
$$;
CREATE FUNCTION pgmq.send_topic(routing_key text, msg jsonb, delay integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
BEGIN
    RETURN pgmq.send_topic(routing_key, msg, NULL, delay);
END;
$$;
CREATE FUNCTION pgmq.send_topic(routing_key text, msg jsonb, headers jsonb, delay integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    b             RECORD;
    matched_count integer := 0;
BEGIN
    PERFORM pgmq.validate_routing_key(routing_key);
    IF msg IS NULL THEN
        RAISE EXCEPTION 'msg cannot be NULL';
    END IF;
    IF delay < 0 THEN
        RAISE EXCEPTION 'delay cannot be negative, got: %', delay;
    END IF;
    -- Filter matching patterns in SQL for better performance (uses index)
    -- Any failure will rollback the entire transaction
    FOR b IN
        SELECT DISTINCT tb.queue_name
        FROM pgmq.topic_bindings tb
        WHERE routing_key ~ tb.compiled_regex
        ORDER BY tb.queue_name -- Deterministic ordering, deduplicated by queue_name
        LOOP
            PERFORM pgmq.send(b.queue_name, msg, headers, delay);
            matched_count := matched_count + 1;
        END LOOP;
    RETURN matched_count;
END;
$$;
CREATE FUNCTION pgmq.set_vt(queue_name text, msg_ids bigint[], vt integer) RETURNS SETOF pgmq.message_record
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.set_vt(queue_name, msg_ids, clock_timestamp() + make_interval(secs => vt));
$$;
CREATE FUNCTION pgmq.set_vt(queue_name text, msg_ids bigint[], vt timestamp with time zone) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        UPDATE pgmq.%I
        SET vt = $1
        WHERE msg_id = ANY($2)
        RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers;
        $QUERY$,
        qtable
    );
    RETURN QUERY EXECUTE sql USING vt, msg_ids;
END;
$_$;
CREATE FUNCTION pgmq.set_vt(queue_name text, msg_id bigint, vt integer) RETURNS SETOF pgmq.message_record
    LANGUAGE sql
    AS $$
    SELECT * FROM pgmq.set_vt(queue_name, msg_id, clock_timestamp() + make_interval(secs => vt));
$$;
CREATE FUNCTION pgmq.set_vt(queue_name text, msg_id bigint, vt timestamp with time zone) RETURNS SETOF pgmq.message_record
    LANGUAGE plpgsql
    AS $_$
DECLARE
    sql TEXT;
    result pgmq.message_record;
    qtable TEXT := pgmq.format_table_name(queue_name, 'q');
BEGIN
    sql := FORMAT(
        $QUERY$
        UPDATE pgmq.%I
        SET vt = $1
        WHERE msg_id = $2
        RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers;
        $QUERY$, 
        qtable
    );
    RETURN QUERY EXECUTE sql USING vt, msg_id;
END;
$_$;
CREATE FUNCTION pgmq.test_routing(routing_key text) RETURNS TABLE(pattern text, queue_name text, compiled_regex text)
    LANGUAGE plpgsql STABLE
    AS $$
BEGIN
    PERFORM pgmq.validate_routing_key(routing_key);
    RETURN QUERY
        SELECT b.pattern,
               b.queue_name,
               b.compiled_regex
        FROM pgmq.topic_bindings b
        WHERE routing_key ~ b.compiled_regex
        ORDER BY b.pattern;
END;
$$;
CREATE FUNCTION pgmq.unbind_topic(pattern text, queue_name text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
DECLARE
    rows_deleted integer;
BEGIN
    IF pattern IS NULL OR pattern = '' THEN
        RAISE EXCEPTION 'pattern cannot be NULL or empty';
    END IF;
    IF queue_name IS NULL OR queue_name = '' THEN
        RAISE EXCEPTION 'queue_name cannot be NULL or empty';
    END IF;
    DELETE
    FROM pgmq.topic_bindings
    WHERE topic_bindings.pattern = unbind_topic.pattern
      AND topic_bindings.queue_name = unbind_topic.queue_name;
    GET DIAGNOSTICS rows_deleted = ROW_COUNT;
    IF rows_deleted > 0 THEN
        RETURN true;
    ELSE
        RETURN false;
    END IF;
END;
$$;
CREATE FUNCTION pgmq.update_notify_insert(queue_name text, throttle_interval_ms integer) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF throttle_interval_ms < 0 THEN
        RAISE EXCEPTION 'throttle_interval_ms must be non-negative, got: %', throttle_interval_ms;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pgmq.meta WHERE meta.queue_name = update_notify_insert.queue_name) THEN
        RAISE EXCEPTION 'Queue "%" does not exist. Create the queue first using pgmq.create()', queue_name;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pgmq.notify_insert_throttle WHERE notify_insert_throttle.queue_name = update_notify_insert.queue_name) THEN
        RAISE EXCEPTION 'Queue "%" does not have notify_insert enabled. Enable it first using pgmq.enable_notify_insert()', queue_name;
    END IF;
    UPDATE pgmq.notify_insert_throttle
    SET throttle_interval_ms = update_notify_insert.throttle_interval_ms,
        last_notified_at = to_timestamp(0)
    WHERE notify_insert_throttle.queue_name = update_notify_insert.queue_name;
END;
$$;
CREATE FUNCTION pgmq.validate_queue_name(queue_name text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF length(queue_name) > 47 THEN
    -- complete table identifier must be <= 63
    -- https://www.postgresql.org/docs/17/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
    -- e.g. template_pgmq_q_my_queue is an identifier for my_queue when partitioned
    -- template_pgmq_q_ (16) + <a max length queue name> (47) = 63 
    RAISE EXCEPTION 'queue name is too long, maximum length is 47 characters';
  END IF;
END;
$$;
CREATE FUNCTION pgmq.validate_routing_key(routing_key text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
BEGIN
    -- Valid routing key examples:
    --   "logs.error"
    --   "app.user-service.auth"
    --   "system_events.db.connection_failed"
    --
    -- Invalid routing key examples:
    --   ""                     - empty
    --   ".logs.error"          - starts with dot
    --   "logs.error."          - ends with dot
    --   "logs..error"          - consecutive dots
    --   "logs.error!"          - invalid character
    --   "logs error"           - space not allowed
    --   "logs.*"               - wildcards not allowed in routing keys
    IF routing_key IS NULL OR routing_key = '' THEN
        RAISE EXCEPTION 'routing_key cannot be NULL or empty';
    END IF;
    IF length(routing_key) > 255 THEN
        RAISE EXCEPTION 'routing_key length cannot exceed 255 characters, got % characters', length(routing_key);
    END IF;
    IF routing_key !~ '^[a-zA-Z0-9._-]+$' THEN
        RAISE EXCEPTION 'routing_key contains invalid characters. Only alphanumeric, dots, hyphens, and underscores are allowed. Got: %', routing_key;
    END IF;
    IF routing_key ~ '^\.' THEN
        RAISE EXCEPTION 'routing_key cannot start with a dot. Got: %', routing_key;
    END IF;
    IF routing_key ~ '\.$' THEN
        RAISE EXCEPTION 'routing_key cannot end with a dot. Got: %', routing_key;
    END IF;
    IF routing_key ~ '\.\.' THEN
        RAISE EXCEPTION 'routing_key cannot contain consecutive dots. Got: %', routing_key;
    END IF;
    RETURN true;
END;
$_$;
CREATE FUNCTION pgmq.validate_topic_pattern(pattern text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    AS $_$
BEGIN
    -- Valid pattern examples:
    --   "logs.*"           - matches one segment after logs. (e.g., logs.error, logs.info)
    --   "logs.#"           - matches one or more segments after logs. (e.g., logs.error, logs.api.error)
    --   "*.error"          - matches one segment before .error (e.g., app.error, db.error)
    --   "#.error"          - matches one or more segments before .error (e.g., app.error, x.y.error)
    --   "app.*.#"          - mixed wildcards (one segment then one or more)
    --   "#"                - catch-all pattern, matches any routing key
    --
    -- Invalid pattern examples:
    --   ".logs.*"          - starts with dot
    --   "logs.*."          - ends with dot
    --   "logs..error"      - consecutive dots
    --   "logs.**"          - consecutive stars
    --   "logs.##"          - consecutive hashes
    --   "logs.*#"          - adjacent wildcards
    --   "logs.error!"      - invalid character
    IF pattern IS NULL OR pattern = '' THEN
        RAISE EXCEPTION 'pattern cannot be NULL or empty';
    END IF;
    IF length(pattern) > 255 THEN
        RAISE EXCEPTION 'pattern length cannot exceed 255 characters, got % characters', length(pattern);
    END IF;
    IF pattern !~ '^[a-zA-Z0-9._\-*#]+$' THEN
        RAISE EXCEPTION 'pattern contains invalid characters. Only alphanumeric, dots, hyphens, underscores, *, and # are allowed. Got: %', pattern;
    END IF;
    IF pattern ~ '^\.' THEN
        RAISE EXCEPTION 'pattern cannot start with a dot. Got: %', pattern;
    END IF;
    IF pattern ~ '\.$' THEN
        RAISE EXCEPTION 'pattern cannot end with a dot. Got: %', pattern;
    END IF;
    IF pattern ~ '\.\.' THEN
        RAISE EXCEPTION 'pattern cannot contain consecutive dots. Got: %', pattern;
    END IF;
    IF pattern ~ '\*\*' THEN
        RAISE EXCEPTION 'pattern cannot contain consecutive stars (**). Use # for multi-segment matching. Got: %', pattern;
    END IF;
    IF pattern ~ '##' THEN
        RAISE EXCEPTION 'pattern cannot contain consecutive hashes (##). A single # already matches zero or more segments. Got: %', pattern;
    END IF;
    IF pattern ~ '\*#' OR pattern ~ '#\*' THEN
        RAISE EXCEPTION 'pattern cannot contain adjacent wildcards (*# or #*). Separate wildcards with dots. Got: %', pattern;
    END IF;
    RETURN true;
END;
$_$;
CREATE FUNCTION tasker.advance_tasks(p_now timestamp with time zone, p_task_ids uuid[], p_step_nos smallint[], p_completed integer[], p_failed integer[], p_active integer[], p_actor text DEFAULT NULL::text, p_reason text DEFAULT NULL::text, p_worker_id text DEFAULT NULL::text, p_namespaces text[] DEFAULT '{}'::text[], p_take integer DEFAULT 0, p_lease interval DEFAULT NULL::interval) RETURNS TABLE(task_id uuid, step_no smallint, msg_id bigint)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
declare
    v_resting uuid[];
    v_namespaces text[];
    v_ready_tasks uuid[];
    v_ready_steps smallint[];
    v_visible_at timestamptz[];
    v_handed boolean[];
    v_queued_tasks uuid[];
    v_queued_steps smallint[];
    v_msg_ids bigint[];
begin
    with changed as materialized (
        select c.task_id, c.step_no, c.completed, c.failed, c.active, t.template_id, t.namespace, t.priority, t.state,
               t.total_steps, t.completed_steps, t.failed_steps, t.active_steps
        from unnest(p_task_ids, p_step_nos, p_completed, p_failed, p_active) c(task_id, step_no, completed, failed, active)
        join tasker.tasks t on t.task_id = c.task_id
    ), counted as (
        update tasker.steps s
        set pending_dependencies = n.left_over,
            state = case when n.left_over > 0 then s.state when n.handed then 'in_progress' else 'enqueued' end,
            attempts = s.attempts + n.handed::integer,
            token = case when n.handed then gen_random_uuid() end,
            due_at = case when n.handed then p_now + p_lease end,
            started_at = case when n.handed then p_now end,
            worker_id = case when n.handed then p_worker_id end
        from (
            select d.*, d.ready and p_take >= sum(d.ready::integer) over (order by d.task_id, d.step_no) as handed
            from (
                select e.task_id, e.step_no, e.namespace, e.priority, w.pending_dependencies - e.n as left_over,
                       w.pending_dependencies = e.n and e.namespace = any (p_namespaces) as ready
                from (
                    select c.task_id, dep.step_no, c.namespace, c.priority, count(*)::smallint as n
                    from changed c
                    join tasker.template_steps ts on ts.template_id = c.template_id and ts.step_no = c.step_no,
                    unnest(ts.dependents) dep(step_no)
                    where c.completed > 0
                    group by c.task_id, dep.step_no, c.namespace, c.priority
                ) e
                join tasker.steps w on w.task_id = e.task_id and w.step_no = e.step_no
                where w.state = 'pending'
            ) d
        ) n
        where s.task_id = n.task_id and s.step_no = n.step_no
        returning s.task_id, s.step_no, n.namespace, n.left_over, n.handed,
                  case when n.handed then p_now + p_lease else p_now - n.priority * interval '10 seconds' end as visible_at
    ), ready as materialized (
        select c.* from counted c where c.left_over = 0 order by c.task_id, c.step_no
    ), settled as (
        update tasker.tasks t
        set completed_steps = n.completed_steps,
            failed_steps = n.failed_steps,
            active_steps = n.active_steps,
            state = n.state,
            -- Not set yet where an operator resolves a step before any has run.
            started_at = coalesce(t.started_at, p_now),
            completed_at = case when n.state = 'completed' then p_now end
        from (
            select d.*, (case
                       when d.completed_steps = d.total_steps then 'completed'
                       when d.active_steps = 0 and d.failed_steps > 0 then 'blocked_by_failures'
                       else 'in_progress'
                   end)::tasker.state as state
            from (
                select c.task_id, c.state as old_state, c.total_steps,
                       c.completed_steps + sum(c.completed) as completed_steps,
                       c.failed_steps + sum(c.failed) as failed_steps,
                       c.active_steps + sum(c.active)
                           + (select count(*) from ready r where r.task_id = c.task_id) as active_steps
                from changed c
                group by c.task_id, c.state, c.total_steps, c.completed_steps, c.failed_steps, c.active_steps
                -- Steps that only wait for a retry, or were handed back, change nothing.
                having bool_or(c.completed <> 0 or c.failed <> 0)
            ) d
        ) n
        where t.task_id = n.task_id
        returning t.task_id, n.old_state, t.state
    ), history as (
        insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor, reason)
        select r.task_id, p_now, r.step_no, null::smallint, 'pending'::tasker.state, 'enqueued'::tasker.state, null, null from ready r
        union all
        select r.task_id, p_now, r.step_no, 1, 'enqueued', 'in_progress', p_worker_id, null from ready r where r.handed
        union all
        select t.task_id, p_now, null, null, t.old_state, t.state, p_actor, p_reason from settled t where t.old_state <> t.state
    )
    select array(select t.task_id from settled t where t.old_state <> t.state and t.state <> 'in_progress'),
           array_agg(r.namespace), array_agg(r.task_id), array_agg(r.step_no), array_agg(r.visible_at), array_agg(r.handed)
    into v_resting, v_namespaces, v_ready_tasks, v_ready_steps, v_visible_at, v_handed
    from ready r;
    if v_resting <> '{}' then
        perform tasker.announce(v_resting);
    end if;
    if v_ready_tasks is null then
        return;
    end if;
    -- By itself: a join need not call a function whose rows it could not use.
    select array_agg(q.task_id), array_agg(q.step_no), array_agg(q.msg_id) into v_queued_tasks, v_queued_steps, v_msg_ids
    from tasker.enqueue(v_namespaces, v_ready_tasks, v_ready_steps, v_visible_at) q;
    if true = any (v_handed) then
        return query
        select q.task_id, q.step_no, q.msg_id
        from unnest(v_queued_tasks, v_queued_steps, v_msg_ids) q(task_id, step_no, msg_id)
        join tasker.steps s on s.task_id = q.task_id and s.step_no = q.step_no
        where s.state = 'in_progress';
    end if;
end
$$;
CREATE FUNCTION tasker.announce(p_task_ids uuid[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    if p_task_ids is not null then
        perform pg_notify('tasker.tasks_at_rest',
            case when cardinality(p_task_ids) <= 200 then array_to_string(p_task_ids, ',') else '' end);
    end if;
end
$$;
CREATE FUNCTION tasker.apply_template(p_namespace text, p_name text, p_version text, p_version_key text, p_definition jsonb, p_steps jsonb, OUT template_id bigint, OUT outcome text) RETURNS record
    LANGUAGE plpgsql
    AS $$
declare
    v_stored jsonb;
begin
    perform tasker.ensure_namespace(p_namespace);
    insert into tasker.task_templates as t (namespace, name, version, version_key, definition, total_steps, root_steps, created_at)
    select p_namespace, p_name, p_version, p_version_key, p_definition, count(*),
           count(*) filter (where step -> 'dependencies' = '[]'), tasker.now()
    from jsonb_array_elements(p_steps) step
    on conflict do nothing
    returning t.template_id into template_id;
    if template_id is null then
        -- By the sort key: versions that differ in build metadata only are the same version.
        select t.template_id, t.definition into template_id, v_stored
        from tasker.task_templates t
        where t.namespace = p_namespace and t.name = p_name and t.version_key = p_version_key;
        outcome := case when v_stored = p_definition then 'unchanged' else 'conflict' end;
        return;
    end if;
    insert into tasker.template_steps (
        template_id, step_no, name, callable, initialization, dependencies, dependents,
        max_attempts, backoff, backoff_base_ms, max_backoff_ms, timeout_seconds)
    select apply_template.template_id, (e.ordinal - 1)::smallint, s.name, s.callable, s.initialization, s.dependencies,
           s.dependents, s.max_attempts, s.backoff, s.backoff_base_ms, s.max_backoff_ms, s.timeout_seconds
    from jsonb_array_elements(p_steps) with ordinality e(step, ordinal),
         jsonb_populate_record(null::tasker.template_steps, e.step) s;
    outcome := 'created';
end
$$;
CREATE FUNCTION tasker.backoff_delay(p_backoff text, p_base_ms bigint, p_max_ms bigint, p_attempt integer) RETURNS interval
    LANGUAGE sql
    RETURN ((LEAST((p_max_ms)::double precision, ((p_base_ms)::double precision * CASE p_backoff WHEN 'exponential'::text THEN power((2)::double precision, (LEAST((p_attempt - 1), 62))::double precision) WHEN 'linear'::text THEN (p_attempt)::double precision ELSE (1)::double precision END)) * ((1)::double precision - (random() / (4)::double precision))) * '00:00:00.001'::interval);
CREATE FUNCTION tasker.claimed_steps(p_task_ids uuid[], p_step_nos smallint[], p_msg_ids bigint[], p_waited_seconds double precision[]) RETURNS SETOF tasker.claimed_step
    LANGUAGE plpgsql STABLE
    AS $$
begin
    return query
    select false, s.task_id, s.step_no, s.token, c.msg_id, t.namespace, tt.name, tt.version, ts.name, ts.callable,
           ts.initialization, t.context,
           coalesce((
               select json_object_agg(ds.name, d.result)
               from tasker.steps d
               join tasker.template_steps ds on ds.template_id = t.template_id and ds.step_no = d.step_no
               where d.task_id = s.task_id and d.step_no = any (ts.dependencies)), '{}'),
           s.attempts, ts.max_attempts, ts.timeout_seconds, c.waited_seconds
    from unnest(p_task_ids, p_step_nos, p_msg_ids, p_waited_seconds)
        c(task_id, step_no, msg_id, waited_seconds)
    join tasker.steps s on s.task_id = c.task_id and s.step_no = c.step_no
    join tasker.tasks t on t.task_id = s.task_id
    join tasker.task_templates tt on tt.template_id = t.template_id
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = s.step_no;
end
$$;
CREATE FUNCTION tasker.complete_steps(p_worker_id text, p_namespaces text[], p_take integer, p_lease interval, p_result_namespaces text[], p_msg_ids bigint[], p_task_ids uuid[], p_step_nos smallint[], p_tokens uuid[], p_outcomes text[], p_payloads jsonb[]) RETURNS SETOF tasker.claimed_step
    LANGUAGE plpgsql
    AS $$
declare
    v_now timestamptz := tasker.now();
    v_accepted tasker.accepted_result[];
    v_waiting tasker.accepted_result[];
    v_deferred text[];
    v_handed_tasks uuid[];
    v_handed_steps smallint[];
    v_handed_msgs bigint[];
begin
    perform tasker.pin_plans();
    perform from tasker.tasks t where t.task_id = any (p_task_ids) order by t.task_id for update;
    -- 1. Which results count, and what they make of their steps.
    with accepted as materialized (
        select r.namespace, r.msg_id, r.task_id, r.step_no, r.token, s.attempts,
            (case
                when r.outcome = 'completed' then 'completed'
                when r.outcome = 'released' then 'enqueued'
                when r.outcome = 'retryable_error' and s.attempts < ts.max_attempts then 'waiting_for_retry'
                else 'failed'
            end)::tasker.state as state,
            case
                when r.outcome = 'retryable_error' and s.attempts < ts.max_attempts
                then v_now + tasker.backoff_delay(ts.backoff, ts.backoff_base_ms, ts.max_backoff_ms, s.attempts)
            end as due_at,
            r.payload
        from (
            select distinct on (u.task_id, u.step_no, u.token) u.*
            from unnest(p_result_namespaces, p_msg_ids, p_task_ids, p_step_nos, p_tokens, p_outcomes, p_payloads) with ordinality
                u(namespace, msg_id, task_id, step_no, token, outcome, payload, nth)
            order by u.task_id, u.step_no, u.token, u.nth
        ) r
        join lateral (
            select * from tasker.steps l where l.task_id = r.task_id and l.step_no = r.step_no for update
        ) s on s.token = r.token
        left join lateral (
            select l.* from tasker.tasks t join tasker.template_steps l on l.template_id = t.template_id and l.step_no = r.step_no
            where t.task_id = r.task_id and r.outcome = 'retryable_error'
        ) ts on true
    ), recorded as (
        update tasker.steps s
        set state = a.state, token = null, due_at = a.due_at,
            attempts = s.attempts - (a.state = 'enqueued')::integer,
            completed_at = case when a.state = 'completed' or a.state = 'failed' then v_now end,
            result = case when a.state = 'completed' then coalesce(a.payload, 'null') end,
            error = case when a.state = 'waiting_for_retry' or a.state = 'failed' then a.payload end
        from accepted a
        where s.task_id = a.task_id and s.step_no = a.step_no
    ), history as (
        insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor, reason)
        select a.task_id, v_now, a.step_no, a.attempts, 'in_progress', a.state, p_worker_id,
               case when a.state = 'waiting_for_retry' or a.state = 'failed' then left(a.payload ->> 'message', 1000)
                    when a.state = 'enqueued' then 'handed back' end
        from accepted a
    )
    select array_agg((a.namespace, a.msg_id, a.task_id, a.step_no, a.token, a.state, a.due_at)::tasker.accepted_result)
    into v_accepted
    from accepted a;
    if v_accepted is not null then
        -- 2. Their messages.
        perform tasker.delete_messages(
            array_agg(a.namespace), array_agg(a.msg_id), array_agg(a.task_id), array_agg(a.step_no))
        from unnest(v_accepted) a where a.state = 'completed' or a.state = 'failed';
        if exists (select from unnest(v_accepted) a where a.state = 'enqueued' or a.state = 'waiting_for_retry') then
            v_waiting := array(select a from unnest(v_accepted) a where a.state = 'enqueued' or a.state = 'waiting_for_retry');
            select array_agg(d.task_id || ' ' || d.step_no) into v_deferred
            from tasker.defer_messages(
                array(select w.namespace from unnest(v_waiting) w), array(select w.msg_id from unnest(v_waiting) w),
                array(select w.task_id from unnest(v_waiting) w), array(select w.step_no from unnest(v_waiting) w),
                array(select coalesce(w.due_at, v_now) from unnest(v_waiting) w)) d;
            -- Not to wait for the end of the lease: a message too many does no harm.
            perform tasker.enqueue(array_agg(w.namespace), array_agg(w.task_id), array_agg(w.step_no), array_agg(coalesce(w.due_at, v_now)))
            from unnest(v_waiting) w
            where (w.task_id || ' ' || w.step_no = any (v_deferred)) is not true;
        end if;
        -- 3. Their tasks; the worker may be handed dependents.
        select array_agg(d.task_id), array_agg(d.step_no), array_agg(d.msg_id)
        into v_handed_tasks, v_handed_steps, v_handed_msgs
        from tasker.advance_tasks(v_now,
            array(select a.task_id from unnest(v_accepted) a), array(select a.step_no from unnest(v_accepted) a),
            array(select (a.state = 'completed')::integer from unnest(v_accepted) a),
            array(select (a.state = 'failed')::integer from unnest(v_accepted) a),
            array(select -(a.state = 'completed' or a.state = 'failed')::integer from unnest(v_accepted) a),
            null, null, p_worker_id, p_namespaces, p_take, p_lease) d;
    end if;
    if cardinality(v_accepted) is distinct from cardinality(p_task_ids) then
        return query
        select true, r.task_id, r.step_no, r.token, r.msg_id, r.namespace, null::text, null::text, null::text, null::text,
               null::jsonb, null::jsonb, null::json, null::smallint, null::smallint, null::integer, null::double precision
        from unnest(p_result_namespaces, p_msg_ids, p_task_ids, p_step_nos, p_tokens)
            r(namespace, msg_id, task_id, step_no, token)
        where not exists (
            select from unnest(v_accepted) a
            where a.task_id = r.task_id and a.step_no = r.step_no and a.token = r.token);
    end if;
    if v_handed_tasks is not null then
        return query select d.* from tasker.claimed_steps(v_handed_tasks, v_handed_steps, v_handed_msgs, null) d;
    end if;
end
$$;
CREATE FUNCTION tasker.create_tasks(p_task_ids uuid[], p_template_ids bigint[], p_latest boolean[], p_contexts jsonb[], p_priorities smallint[], p_tags jsonb[], p_idempotency_keys text[], p_request_hashes bytea[]) RETURNS TABLE(ordinal bigint, task_id uuid, outcome text, created_at timestamp with time zone)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_created uuid[];
    v_root_namespaces text[];
    v_root_tasks uuid[];
    v_root_steps smallint[];
    v_visible_at timestamptz[];
begin
    perform tasker.pin_plans();
    -- In the order of the keys, so that batches that share keys cannot wait for each other in a circle.
    with created as (
        insert into tasker.tasks (
            task_id, template_id, created_at, state, priority, total_steps, active_steps, namespace,
            request_hash, idempotency_key, tags, context)
        select r.task_id, t.template_id, v_now, 'pending', r.priority, t.total_steps, t.root_steps, t.namespace,
               r.request_hash, r.idempotency_key, r.tags, r.context
        from unnest(p_task_ids, p_template_ids, p_latest, p_contexts, p_priorities, p_tags, p_idempotency_keys, p_request_hashes)
                 r(task_id, template_id, latest, context, priority, tags, idempotency_key, request_hash)
        join tasker.task_templates t on t.template_id = r.template_id
        where not r.latest or t.template_id = (
            select l.template_id from tasker.task_templates l
            where l.namespace = t.namespace and l.name = t.name
            order by l.version_key desc limit 1)
        order by r.idempotency_key, r.task_id
        on conflict (idempotency_key) where idempotency_key is not null do nothing
        returning task_id, template_id, namespace, priority
    ), new_steps as (
        insert into tasker.steps (task_id, step_no, pending_dependencies, state)
        select c.task_id, s.step_no, cardinality(s.dependencies),
               (case when s.dependencies = '{}' then 'enqueued' else 'pending' end)::tasker.state
        from created c join tasker.template_steps s on s.template_id = c.template_id
        returning task_id, step_no, state
    ), roots as materialized (
        select n.task_id, n.step_no, c.namespace, v_now - c.priority * interval '10 seconds' as visible_at
        from new_steps n join created c on c.task_id = n.task_id where n.state = 'enqueued'
    ), history as (
        insert into tasker.transitions (task_id, at, step_no, to_state)
        select c.task_id, v_now, null::smallint, 'pending'::tasker.state from created c
        union all
        select r.task_id, v_now, r.step_no, 'enqueued' from roots r
    )
    select array(select c.task_id from created c), array_agg(r.namespace), array_agg(r.task_id), array_agg(r.step_no),
           array_agg(r.visible_at)
    into v_created, v_root_namespaces, v_root_tasks, v_root_steps, v_visible_at
    from roots r;
    if v_root_tasks is not null then
        perform tasker.enqueue(v_root_namespaces, v_root_tasks, v_root_steps, v_visible_at);
    end if;
    return query
    select r.ordinal,
           coalesce(e.task_id, r.task_id),
           case
               when r.task_id = any (v_created) then 'created'
               when e.task_id is null then 'outdated'
               when e.request_hash = r.request_hash then 'existing'
               else 'conflict'
           end,
           v_now
    from unnest(p_task_ids, p_idempotency_keys, p_request_hashes) with ordinality
             r(task_id, idempotency_key, request_hash, ordinal)
    left join tasker.tasks e on e.idempotency_key = r.idempotency_key;
end
$$;
CREATE FUNCTION tasker.defer_messages(p_namespaces text[], p_msg_ids bigint[], p_task_ids uuid[], p_step_nos smallint[], p_visible_at timestamp with time zone[]) RETURNS TABLE(task_id uuid, step_no smallint)
    LANGUAGE plpgsql
    AS $_$
#variable_conflict use_column
declare
    v_namespaces text[] := tasker.distinct_namespaces(p_namespaces);
    v_namespace text;
    v_msg_ids bigint[] := p_msg_ids;
    v_task_ids uuid[] := p_task_ids;
    v_step_nos smallint[] := p_step_nos;
    v_visible_at timestamptz[] := p_visible_at;
begin
    foreach v_namespace in array v_namespaces loop
        if cardinality(v_namespaces) > 1 then
            select array_agg(m.msg_id), array_agg(m.task_id), array_agg(m.step_no), array_agg(m.visible_at)
            into v_msg_ids, v_task_ids, v_step_nos, v_visible_at
            from unnest(p_namespaces, p_msg_ids, p_task_ids, p_step_nos, p_visible_at)
                m(namespace, msg_id, task_id, step_no, visible_at)
            where m.namespace = v_namespace;
        end if;
        return query execute format(
            'update pgmq.%1$I q set vt = m.visible_at from unnest($1, $2, $3, $4) m(msg_id, task_id, step_no, visible_at)
             where q.msg_id = m.msg_id and q.message ->> ''task_id'' = m.task_id::text and q.message ->> ''step_no'' = m.step_no::text
               and q.msg_id = any (array(select l.msg_id from pgmq.%1$I l where l.msg_id = any ($1) for update skip locked))
             returning m.task_id, m.step_no',
            'q_' || tasker.queue_name(v_namespace))
        using v_msg_ids, v_task_ids, v_step_nos, v_visible_at;
        perform tasker.wake(v_namespace, v_visible_at);
    end loop;
end
$_$;
CREATE FUNCTION tasker.delete_finished_tasks(p_namespace text, p_age interval, p_after uuid, p_limit integer, OUT tasks bigint, OUT steps bigint, OUT transitions bigint, OUT next uuid) RETURNS record
    LANGUAGE plpgsql
    AS $$
declare
    v_before timestamptz := tasker.now() - p_age;
    -- The smallest UUIDv7 of that time: 48 bits of milliseconds, and zeros.
    v_created_before uuid := rpad(lpad(to_hex(greatest(extract(epoch from v_before) * 1000, 0)::bigint), 12, '0'), 32, '0')::uuid;
    v_seen uuid[];
    v_old uuid[];
begin
    perform tasker.pin_plans();
    perform set_config('synchronous_commit', 'off', true);
    tasks := 0;
    steps := 0;
    transitions := 0;
    if not pg_try_advisory_xact_lock(hashtext('tasker.housekeeping')) then
        return;
    end if;
    select array_agg(f.task_id order by f.task_id) into v_seen
    from (
        select oldest.task_id
        from unnest('{completed,failed,cancelled}'::tasker.state[]) s(state)
        cross join lateral (
            select t.task_id from tasker.tasks t
            where t.namespace = p_namespace and t.state = s.state
              and t.task_id > coalesce(p_after, '00000000-0000-0000-0000-000000000000') and t.task_id < v_created_before
            order by t.task_id limit p_limit
        ) oldest
        order by oldest.task_id limit p_limit
    ) f;
    if cardinality(v_seen) = p_limit then
        next := v_seen[p_limit];
    end if;
    select array_agg(o.task_id) into v_old
    from (
        select t.task_id from tasker.tasks t
        where t.task_id = any (v_seen) and t.completed_at < v_before
        order by t.task_id for update skip locked
    ) o;
    if v_old is null then
        return;
    end if;
    -- Steps are locked in the order that everybody keeps: a worker may still ask for a lease of theirs.
    perform from tasker.steps s where s.task_id = any (v_old) order by s.task_id, s.step_no for update;
    delete from tasker.steps s where s.task_id = any (v_old);
    get diagnostics steps = row_count;
    delete from tasker.transitions r where r.task_id = any (v_old);
    get diagnostics transitions = row_count;
    delete from tasker.tasks t where t.task_id = any (v_old);
    get diagnostics tasks = row_count;
end
$$;
CREATE FUNCTION tasker.delete_messages(p_namespaces text[], p_msg_ids bigint[], p_task_ids uuid[], p_step_nos smallint[]) RETURNS void
    LANGUAGE plpgsql
    AS $_$
declare
    v_namespace text;
    v_msg_ids bigint[];
    v_contents text[];
begin
    foreach v_namespace in array tasker.distinct_namespaces(p_namespaces) loop
        select array_agg(m.msg_id), array_agg(m.msg_id || ' ' || m.task_id || ' ' || m.step_no) into v_msg_ids, v_contents
        from unnest(p_namespaces, p_msg_ids, p_task_ids, p_step_nos) m(namespace, msg_id, task_id, step_no)
        where m.namespace = v_namespace;
        -- Not by a join: the planner takes a queue that was empty a moment ago for short, and would read all of it.
        execute format(
            'delete from pgmq.%1$I where msg_id = any (array(
                 select msg_id from pgmq.%1$I
                 where msg_id = any ($1)
                   and msg_id || '' '' || (message ->> ''task_id'') || '' '' || (message ->> ''step_no'') = any ($2)
                 for update skip locked))',
            'q_' || tasker.queue_name(v_namespace))
        using v_msg_ids, v_contents;
    end loop;
end
$_$;
CREATE FUNCTION tasker.delete_rejected_messages(p_age interval, p_limit integer) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
declare
    v_before timestamptz := tasker.now() - p_age;
    v_deleted bigint;
begin
    perform tasker.pin_plans();
    perform set_config('synchronous_commit', 'off', true);
    if not pg_try_advisory_xact_lock(hashtext('tasker.housekeeping')) then
        return 0;
    end if;
    -- Numbered as they came, so the first ones are the oldest.
    delete from tasker.rejected_messages r
    where r.rejected_at < v_before and r.rejected_message_id = any (array(
        select o.rejected_message_id from tasker.rejected_messages o order by o.rejected_message_id limit p_limit));
    get diagnostics v_deleted = row_count;
    return v_deleted;
end
$$;
CREATE FUNCTION tasker.distinct_namespaces(p_namespaces text[]) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE
    AS $$
begin
    if p_namespaces[1] = all (p_namespaces) then
        return p_namespaces[1:1];
    end if;
    return array(select distinct n from unnest(p_namespaces) n order by n);
end
$$;
CREATE FUNCTION tasker.end_task(p_task_id uuid, p_state tasker.state, p_actor text, p_reason text, OUT outcome text, OUT state tasker.state) RETURNS record
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_old tasker.state;
begin
    select t.state into v_old from tasker.tasks t where t.task_id = p_task_id for update;
    state := v_old;
    outcome := case
        when v_old is null then 'not_found'
        when v_old in ('completed', 'failed', 'cancelled') then 'wrong_state'
        when p_state = 'failed' and v_old <> 'blocked_by_failures' then 'wrong_state'
        else 'done'
    end;
    if outcome <> 'done' then
        return;
    end if;
    state := p_state;
    perform from tasker.steps s where s.task_id = p_task_id order by s.step_no for update;
    with old as (
        select s.step_no, s.state from tasker.steps s
        where s.task_id = p_task_id and s.state in ('pending', 'enqueued', 'in_progress', 'waiting_for_retry')
    ), ended as (
        update tasker.steps s set state = 'cancelled', token = null, due_at = null, completed_at = v_now
        from old o where s.task_id = p_task_id and s.step_no = o.step_no
        returning s.step_no, o.state
    )
    insert into tasker.transitions (task_id, at, step_no, from_state, to_state, actor, reason)
    select p_task_id, v_now, e.step_no, e.state, 'cancelled'::tasker.state, p_actor, p_reason from ended e
    union all
    select p_task_id, v_now, null, v_old, p_state, p_actor, p_reason;
    update tasker.tasks t set state = p_state, completed_at = v_now, active_steps = 0 where t.task_id = p_task_id;
    perform tasker.announce(array[p_task_id]);
end
$$;
CREATE FUNCTION tasker.enqueue(p_namespaces text[], p_task_ids uuid[], p_step_nos smallint[], p_visible_at timestamp with time zone[]) RETURNS TABLE(task_id uuid, step_no smallint, msg_id bigint)
    LANGUAGE plpgsql
    AS $_$
declare
    v_namespaces text[] := tasker.distinct_namespaces(p_namespaces);
    v_namespace text;
    v_task_ids uuid[] := p_task_ids;
    v_step_nos smallint[] := p_step_nos;
    v_visible_at timestamptz[] := p_visible_at;
begin
    foreach v_namespace in array v_namespaces loop
        if cardinality(v_namespaces) > 1 then
            select array_agg(m.task_id), array_agg(m.step_no), array_agg(m.visible_at)
            into v_task_ids, v_step_nos, v_visible_at
            from unnest(p_namespaces, p_task_ids, p_step_nos, p_visible_at) m(namespace, task_id, step_no, visible_at)
            where m.namespace = v_namespace;
        end if;
        return query execute format(
            'insert into pgmq.%I (vt, message)
             select visible_at, jsonb_build_object(''task_id'', task_id, ''step_no'', step_no)
             from unnest($1, $2, $3) m(task_id, step_no, visible_at)
             returning (message ->> ''task_id'')::uuid, (message ->> ''step_no'')::smallint, msg_id',
            'q_' || tasker.queue_name(v_namespace))
        using v_task_ids, v_step_nos, v_visible_at;
        perform tasker.wake(v_namespace, v_visible_at);
    end loop;
end
$_$;
CREATE FUNCTION tasker.ensure_namespace(p_namespace text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    v_queue text := tasker.queue_name(p_namespace);
begin
    if exists (select from tasker.namespaces n where n.namespace = p_namespace) then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtext('tasker.ensure_namespace'));
    if exists (select from tasker.namespaces n where n.namespace = p_namespace) then
        return;
    end if;
    perform pgmq.create(v_queue);
    -- Queue rows are updated and deleted all the time: leave room in the page, and vacuum by number.
    execute format('alter table pgmq.%I set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01,
                    autovacuum_vacuum_threshold = 2000)', 'q_' || v_queue);
    -- Who may run steps may use the queue.
    perform tasker.grant_queue(v_queue, a.grantee::regrole)
    from pg_class c, aclexplode(c.relacl) a
    where c.oid = 'tasker.steps'::regclass and a.privilege_type = 'UPDATE' and a.grantee not in (0, c.relowner);
    insert into tasker.namespaces (namespace, queue, created_at) values (p_namespace, v_queue, tasker.now());
end
$$;
CREATE FUNCTION tasker.exhaust_steps(p_now timestamp with time zone, p_steps tasker.read_step[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    if cardinality(p_steps) = 0 then
        return;
    end if;
    update tasker.steps s
    set state = 'failed', token = null, due_at = null, completed_at = p_now,
        error = jsonb_build_object('kind', 'lease_ended', 'message',
            format('worker %s did not finish attempt %s before its lease ended, and no attempt is left', c.worker_id, c.attempts))
    from unnest(p_steps) c
    where s.task_id = c.task_id and s.step_no = c.step_no;
    insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor, reason)
    select c.task_id, p_now, c.step_no, c.attempts, 'in_progress', 'failed', c.worker_id, 'the lease ended, and no attempt is left'
    from unnest(p_steps) c;
    perform tasker.advance_tasks(p_now, array_agg(c.task_id), array_agg(c.step_no), array_agg(0), array_agg(1), array_agg(-1))
    from unnest(p_steps) c;
end
$$;
CREATE FUNCTION tasker.extend_leases(p_lease interval, p_namespaces text[], p_msg_ids bigint[], p_task_ids uuid[], p_step_nos smallint[], p_tokens uuid[]) RETURNS TABLE(task_id uuid, step_no smallint)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_held tasker.read_step[];
begin
    perform tasker.pin_plans();
    perform set_config('synchronous_commit', 'off', true);
    select array_agg((r.namespace, r.msg_id, null, r.task_id, r.step_no, null, s.state, s.attempts,
        least(v_now + p_lease, s.started_at + ts.timeout_seconds * interval '1 second' + interval '10 seconds'),
        s.worker_id)::tasker.read_step)
    into v_held
    from (
        select u.* from unnest(p_namespaces, p_msg_ids, p_task_ids, p_step_nos, p_tokens)
            u(namespace, msg_id, task_id, step_no, token)
        order by u.task_id, u.step_no
    ) r
    join lateral (
        select * from tasker.steps l where l.task_id = r.task_id and l.step_no = r.step_no for update
    ) s on s.token = r.token
    join tasker.tasks t on t.task_id = r.task_id
    join tasker.template_steps ts on ts.template_id = t.template_id and ts.step_no = r.step_no;
    update tasker.steps s set due_at = h.due_at
    from unnest(v_held) h
    where s.task_id = h.task_id and s.step_no = h.step_no;
    perform tasker.defer_messages(
        array_agg(h.namespace), array_agg(h.msg_id), array_agg(h.task_id), array_agg(h.step_no), array_agg(h.due_at))
    from unnest(v_held) h;
    return query select h.task_id, h.step_no from unnest(v_held) h;
end
$$;
CREATE FUNCTION tasker.grant_queue(p_queue text, p_role regrole) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    execute format('grant select, insert, update, delete on pgmq.%I to %s', 'q_' || p_queue, p_role);
end
$$;
CREATE FUNCTION tasker.grant_runtime(p_role regrole) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    v_migrations regclass := (
        select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relname = '_sqlx_migrations'
          and c.relowner = (select t.relowner from pg_class t where t.oid = 'tasker.tasks'::regclass)
        order by n.nspname = 'public' desc limit 1);
begin
    execute format('grant usage on schema tasker, pgmq to %s', p_role);
    execute format('grant select, insert, update, delete on all tables in schema tasker to %s', p_role);
    execute format('revoke update on tasker.transitions, tasker.task_templates, tasker.template_steps from %s', p_role);
    execute format('grant execute on function tasker.ensure_namespace(text) to %s', p_role);
    perform tasker.grant_queue(n.queue, p_role) from tasker.namespaces n;
    -- Which versions of the schema and of PGMQ these are.
    if v_migrations is not null then
        execute format('revoke all on %s from %s', v_migrations, p_role);
        execute format('grant select on %s to %s', v_migrations, p_role);
    end if;
    if to_regclass('pgmq.__pgmq_migrations') is not null then
        execute format('grant select on pgmq.__pgmq_migrations to %s', p_role);
    end if;
end
$$;
CREATE FUNCTION tasker.heartbeat(p_worker_id text, p_namespaces text[], p_status text, p_max_concurrent integer, p_version text, p_host text, p_started_at timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
    v_now timestamptz := tasker.now();
begin
    perform set_config('synchronous_commit', 'off', true);
    insert into tasker.workers (
        worker_id, namespaces, status, max_concurrent, version, host, started_at, last_heartbeat_at)
    values (p_worker_id, p_namespaces, p_status, p_max_concurrent, p_version, p_host, p_started_at, v_now)
    on conflict (worker_id) do update
    set namespaces = excluded.namespaces, status = excluded.status, max_concurrent = excluded.max_concurrent,
        version = excluded.version, host = excluded.host, started_at = excluded.started_at, last_heartbeat_at = v_now;
    delete from tasker.workers w where w.last_heartbeat_at < v_now - interval '1 day' and w.worker_id <> p_worker_id;
end
$$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE tasker.tasks (
    task_id uuid NOT NULL,
    template_id bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    state tasker.state NOT NULL,
    priority smallint NOT NULL,
    total_steps smallint NOT NULL,
    completed_steps smallint DEFAULT 0 NOT NULL,
    failed_steps smallint DEFAULT 0 NOT NULL,
    active_steps smallint NOT NULL,
    namespace text NOT NULL,
    request_hash bytea,
    idempotency_key text,
    tags jsonb,
    context jsonb NOT NULL,
    CONSTRAINT tasks_check CHECK (((completed_steps >= 0) AND (failed_steps >= 0) AND (active_steps >= 0))),
    CONSTRAINT tasks_check1 CHECK ((((completed_steps + failed_steps) + active_steps) <= total_steps)),
    CONSTRAINT tasks_check2 CHECK (((idempotency_key IS NULL) = (request_hash IS NULL))),
    CONSTRAINT tasks_check3 CHECK (((completed_at IS NOT NULL) = ((state >= 'completed'::tasker.state) AND (state <= 'cancelled'::tasker.state)))),
    CONSTRAINT tasks_priority_check CHECK (((priority >= 0) AND (priority <= 100))),
    CONSTRAINT tasks_state_check CHECK (((state <> 'enqueued'::tasker.state) AND (state <> 'waiting_for_retry'::tasker.state) AND (state <> 'resolved_manually'::tasker.state)))
)
WITH (fillfactor='70', toast_tuple_target='256', autovacuum_vacuum_scale_factor='0.05', autovacuum_analyze_scale_factor='0.05');
CREATE FUNCTION tasker.list_tasks(p_namespace text, p_states tasker.state[], p_before uuid, p_limit bigint) RETURNS SETOF tasker.tasks
    LANGUAGE sql STABLE
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
    select newest.*
    from tasker.namespaces n
    cross join unnest(p_states) s(state)
    cross join lateral (
        select * from tasker.tasks t
        where t.namespace = n.namespace and t.state = s.state
          and t.task_id < coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        order by t.task_id desc limit p_limit
    ) newest
    where p_namespace is null or n.namespace = p_namespace
    order by newest.task_id desc limit p_limit
$$;
CREATE FUNCTION tasker.next_due(p_namespaces text[]) RETURNS TABLE(namespace text, due interval)
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
    v_now timestamptz := tasker.now();
    v_visible_at timestamptz;
begin
    foreach namespace in array p_namespaces loop
        -- The first entry of the index on vt.
        execute format('select min(vt) from pgmq.%I', 'q_' || tasker.queue_name(namespace)) into v_visible_at;
        if v_visible_at is not null then
            due := greatest(v_visible_at - v_now, interval '0');
            return next;
        end if;
    end loop;
end
$$;
CREATE FUNCTION tasker.now() RETURNS timestamp with time zone
    LANGUAGE sql PARALLEL SAFE
    RETURN COALESCE((NULLIF(current_setting('tasker.now'::text, true), ''::text))::timestamp with time zone, clock_timestamp());
CREATE FUNCTION tasker.pin_plans() RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    if current_setting('plan_cache_mode') <> 'force_generic_plan' then
        perform set_config(name, 'off', false)
        from unnest(array['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin', 'jit']) name;
        perform set_config('plan_cache_mode', 'force_generic_plan', false);
    end if;
end
$$;
CREATE FUNCTION tasker.queue_name(p_namespace text) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN (p_namespace ~ '^[a-z0-9_]{1,47}$'::text) THEN p_namespace ELSE (("left"(regexp_replace(lower(p_namespace), '[^a-z0-9]+'::text, '_'::text, 'g'::text), 30) || '_'::text) || "left"(md5(p_namespace), 16)) END;
CREATE FUNCTION tasker.reject_messages(p_now timestamp with time zone, p_read tasker.read_message[]) RETURNS tasker.read_message[]
    LANGUAGE plpgsql
    AS $_$
declare
    v_bad tasker.read_message;
begin
    foreach v_bad in array p_read loop
        continue when v_bad.task_id is not null and v_bad.step_no is not null;
        execute format(
            'with gone as (delete from pgmq.%I where msg_id = $1 returning msg_id, message)
             insert into tasker.rejected_messages (queue, msg_id, message, reason, rejected_at)
             select $2, msg_id, message, $3, $4 from gone', 'q_' || tasker.queue_name(v_bad.namespace))
        using v_bad.msg_id, tasker.queue_name(v_bad.namespace),
              'not an object with a task_id (UUID, in lower case) and a step_no (integer, 0 to 9999)', p_now;
    end loop;
    return array(select m from unnest(p_read) m where m.task_id is not null and m.step_no is not null);
end
$_$;
CREATE FUNCTION tasker.resolve_step(p_task_id uuid, p_step text, p_result jsonb, p_actor text, p_reason text, OUT outcome text, OUT state tasker.state) RETURNS record
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_task tasker.tasks;
    v_step_no smallint;
    v_old tasker.state;
begin
    perform tasker.pin_plans();
    select t.* into v_task from tasker.tasks t where t.task_id = p_task_id for update;
    if v_task.task_id is null then
        outcome := 'not_found';
        return;
    end if;
    select s.step_no, s.state into v_step_no, v_old
    from tasker.template_steps ts
    join lateral (
        select * from tasker.steps l where l.task_id = p_task_id and l.step_no = ts.step_no for update
    ) s on true
    where ts.template_id = v_task.template_id and ts.name = p_step;
    state := v_old;
    outcome := case
        when v_step_no is null then 'no_step'
        when v_task.state in ('completed', 'failed', 'cancelled')
          or v_old in ('completed', 'resolved_manually', 'cancelled') then 'wrong_state'
        else 'done'
    end;
    if outcome <> 'done' then
        return;
    end if;
    state := 'resolved_manually';
    update tasker.steps s
    set state = 'resolved_manually', result = p_result, error = null, token = null, due_at = null, completed_at = v_now
    where s.task_id = p_task_id and s.step_no = v_step_no;
    insert into tasker.transitions (task_id, at, step_no, from_state, to_state, actor, reason)
    values (p_task_id, v_now, v_step_no, v_old, 'resolved_manually', p_actor, p_reason);
    perform tasker.advance_tasks(v_now, array[p_task_id], array[v_step_no], array[1], array[-(v_old = 'failed')::integer],
        array[-(v_old in ('enqueued', 'in_progress', 'waiting_for_retry'))::integer], p_actor, p_reason);
end
$$;
CREATE FUNCTION tasker.retry_steps(p_task_id uuid, p_step text, p_actor text, p_reason text, OUT outcome text, OUT state tasker.state) RETURNS record
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
declare
    v_now timestamptz := tasker.now();
    v_task tasker.tasks;
    v_steps smallint[];
    v_known boolean;
begin
    perform tasker.pin_plans();
    select t.* into v_task from tasker.tasks t where t.task_id = p_task_id for update;
    if v_task.task_id is null then
        outcome := 'not_found';
        return;
    end if;
    select array_agg(s.step_no) filter (where s.state = 'failed'), count(*) > 0, max(s.state)
    into v_steps, v_known, state
    from tasker.template_steps ts
    join (select * from tasker.steps l where l.task_id = p_task_id order by l.step_no for update) s on s.step_no = ts.step_no
    where ts.template_id = v_task.template_id and (p_step is null or ts.name = p_step);
    if p_step is null then
        state := v_task.state;
    end if;
    outcome := case
        when not v_known then 'no_step'
        when v_task.state in ('completed', 'failed', 'cancelled') or v_steps is null then 'wrong_state'
        else 'done'
    end;
    if outcome <> 'done' then
        return;
    end if;
    state := 'enqueued';
    update tasker.steps s
    set state = 'enqueued', attempts = 0, completed_at = null, error = null
    where s.task_id = p_task_id and s.step_no = any (v_steps);
    insert into tasker.transitions (task_id, at, step_no, from_state, to_state, actor, reason)
    select p_task_id, v_now, n, 'failed', 'enqueued', p_actor, p_reason from unnest(v_steps) n;
    perform tasker.enqueue(
        array_agg(v_task.namespace), array_agg(p_task_id), array_agg(n),
        array_agg(v_now - v_task.priority * interval '10 seconds')) from unnest(v_steps) n;
    perform tasker.advance_tasks(v_now, array_agg(p_task_id), array_agg(n), array_agg(0), array_agg(-1), array_agg(1), p_actor, p_reason)
    from unnest(v_steps) n;
end
$$;
CREATE FUNCTION tasker.start_steps(p_worker_id text, p_namespaces text[], p_limit integer, p_lease interval, p_look_back interval[] DEFAULT NULL::interval[]) RETURNS SETOF tasker.claimed_step
    LANGUAGE plpgsql
    AS $_$
declare
    v_now timestamptz := tasker.now();
    v_lease_end timestamptz := v_now + p_lease;
    v_namespace text;
    v_look_back interval;
    v_queue text;
    v_msg_ids bigint[];
    v_visible_at timestamptz[];
    v_messages jsonb[];
    v_read tasker.read_message[];
    v_idle tasker.read_message[];
    v_lock uuid[];
    v_steps tasker.read_step[];
    v_full boolean;
begin
    perform tasker.pin_plans();
    perform set_config('synchronous_commit', 'off', true);
    -- 1. Read messages, oldest first, and hide them for the length of the lease. Again where a full batch called for nothing:
    -- more may wait behind it. Tasks and steps are locked after that, once, so that the order of locks holds.
    for v_round in 1..10 loop
        v_read := '{}';
        for v_namespace, v_look_back in select * from unnest(p_namespaces, p_look_back) loop
            exit when cardinality(v_read) >= p_limit;
            v_queue := 'q_' || tasker.queue_name(v_namespace);
            execute format(
                'select array_agg(msg_id), array_agg(vt), array_agg(message) from (
                     select msg_id, vt, message from pgmq.%I
                     where vt > $1 and vt <= $2 order by vt limit $3 for update skip locked) m', v_queue)
            into v_msg_ids, v_visible_at, v_messages
            using coalesce(v_now - v_look_back, '-infinity'), v_now, p_limit - cardinality(v_read);
            continue when v_msg_ids is null;
            execute format('update pgmq.%I set vt = $1, read_ct = read_ct + 1 where msg_id = any ($2)', v_queue)
            using v_lease_end, v_msg_ids;
            v_read := v_read || array(
                select (v_namespace, m.msg_id, m.visible_at,
                        case when m.message ->> 'task_id' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                             then (m.message ->> 'task_id')::uuid end,
                        case when m.message ->> 'step_no' ~ '^(0|[1-9][0-9]{0,3})$'
                             then (m.message ->> 'step_no')::smallint end)::tasker.read_message
                from unnest(v_msg_ids, v_visible_at, v_messages) m(msg_id, visible_at, message));
        end loop;
        exit when v_read = '{}';
        v_full := cardinality(v_read) >= p_limit;
        if exists (select from unnest(v_read) m where m.task_id is null or m.step_no is null) then
            v_read := tasker.reject_messages(v_now, v_read);
        end if;
        -- Messages whose steps have no turn to come go: a step that gets one again gets a new message with it. `v_lock`: the
        -- tasks that may change: those that start now, and those of steps whose lease has ended.
        select coalesce(array_agg(m) filter (where a.active), '{}'),
               array_agg(m) filter (where not a.active),
               array_agg(distinct t.task_id) filter (where a.active and (t.state = 'pending' or s.state = 'in_progress'))
        into v_read, v_idle, v_lock
        from unnest(v_read) m
        left join tasker.steps s on s.task_id = m.task_id and s.step_no = m.step_no
        left join tasker.tasks t on t.task_id = m.task_id,
        lateral (select coalesce(s.state in ('enqueued', 'in_progress', 'waiting_for_retry'), false) as active) a;
        if v_idle is not null then
            perform tasker.delete_messages(
                array_agg(m.namespace), array_agg(m.msg_id), array_agg(m.task_id), array_agg(m.step_no)) from unnest(v_idle) m;
        end if;
        exit when v_read <> '{}' or not v_full;
    end loop;
    if v_read = '{}' then
        return;
    end if;
    -- 2. Lock the tasks.
    perform from tasker.tasks t where t.task_id = any (v_lock) order by t.task_id for update;
    -- 3. Lock the steps, and see what each message means now.
    select array_agg((m.namespace, m.msg_id, m.visible_at, m.task_id, m.step_no,
        case
            when m.nth > 1 then 'delete'
            when s.state = 'enqueued' or s.state = 'waiting_for_retry' and s.due_at <= v_now then 'start'
            when s.state = 'in_progress' and s.due_at <= v_now then
                case when s.attempts < ts.max_attempts then 'start'
                     when m.task_id = any (v_lock) then 'exhaust'
                     else 'defer' end
            when s.state in ('in_progress', 'waiting_for_retry') then 'defer'
            else 'delete'
        end,
        s.state, s.attempts, s.due_at, s.worker_id)::tasker.read_step)
    into v_steps
    from (
        select r.*, row_number() over (partition by r.task_id, r.step_no order by r.msg_id) as nth
        from unnest(v_read) r order by r.task_id, r.step_no
    ) m
    left join lateral (
        select * from tasker.steps l where l.task_id = m.task_id and l.step_no = m.step_no for update
    ) s on true
    left join lateral (
        select l.max_attempts
        from tasker.tasks t join tasker.template_steps l on l.template_id = t.template_id and l.step_no = m.step_no
        where t.task_id = m.task_id and s.state = 'in_progress'
    ) ts on true;
    -- 4. Start what can start.
    with starting as materialized (
        select c.* from unnest(v_steps) c where c.action = 'start'
    ), started_steps as (
        update tasker.steps s
        set state = 'in_progress', attempts = s.attempts + 1, due_at = v_lease_end, token = gen_random_uuid(),
            worker_id = p_worker_id, started_at = v_now
        from starting c
        where s.task_id = c.task_id and s.step_no = c.step_no
    ), started_tasks as (
        update tasker.tasks t set state = 'in_progress', started_at = v_now
        where t.task_id = any (v_lock) and t.state = 'pending' and t.task_id = any (array(select c.task_id from starting c))
        returning t.task_id
    )
    insert into tasker.transitions (task_id, at, step_no, attempt, from_state, to_state, actor, reason)
    select s.task_id, v_now, null, null, 'pending'::tasker.state, 'in_progress'::tasker.state, p_worker_id, null
    from started_tasks s
    union all
    select c.task_id, v_now, c.step_no, c.attempts + 1, c.state, 'in_progress', p_worker_id,
           case when c.state = 'in_progress' then 'the lease of ' || c.worker_id || ' ended' end
    from starting c;
    -- 5. Seldom: deal with the rest.
    if exists (select from unnest(v_steps) c where c.action <> 'start') then
        perform tasker.exhaust_steps(v_now, array(select c from unnest(v_steps) c where c.action = 'exhaust'));
        perform tasker.delete_messages(
            array_agg(c.namespace), array_agg(c.msg_id), array_agg(c.task_id), array_agg(c.step_no))
        from unnest(v_steps) c where c.action in ('delete', 'exhaust');
        perform tasker.defer_messages(
            array_agg(c.namespace), array_agg(c.msg_id), array_agg(c.task_id), array_agg(c.step_no),
            array_agg(case when c.due_at > v_now then c.due_at else v_now + interval '1 second' end))
        from unnest(v_steps) c where c.action = 'defer';
    end if;
    return query
    select d.* from tasker.claimed_steps(
        array(select c.task_id from unnest(v_steps) c where c.action = 'start'),
        array(select c.step_no from unnest(v_steps) c where c.action = 'start'),
        array(select c.msg_id from unnest(v_steps) c where c.action = 'start'),
        array(select extract(epoch from v_now - c.visible_at)::double precision from unnest(v_steps) c where c.action = 'start')) d;
end
$_$;
CREATE FUNCTION tasker.wake(p_namespace text, p_visible_at timestamp with time zone[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
    v_now timestamptz := tasker.now();
begin
    if v_now >= any (p_visible_at) then
        perform pg_notify('pgmq.q_' || tasker.queue_name(p_namespace) || '.INSERT',
            (select ceil(extract(epoch from v_now - min(at)))::text from unnest(p_visible_at) at));
    end if;
end
$$;
CREATE TABLE pgmq.__pgmq_migrations (
    name text NOT NULL,
    version text NOT NULL,
    run_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE pgmq.a_upgrade (
    msg_id bigint NOT NULL,
    read_ct integer DEFAULT 0 NOT NULL,
    enqueued_at timestamp with time zone DEFAULT now() NOT NULL,
    last_read_at timestamp with time zone,
    archived_at timestamp with time zone DEFAULT now() NOT NULL,
    vt timestamp with time zone NOT NULL,
    message jsonb,
    headers jsonb
);
CREATE TABLE pgmq.meta (
    queue_name character varying NOT NULL,
    is_partitioned boolean NOT NULL,
    is_unlogged boolean NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE UNLOGGED TABLE pgmq.notify_insert_throttle (
    queue_name character varying NOT NULL,
    throttle_interval_ms integer DEFAULT 0 NOT NULL,
    last_notified_at timestamp with time zone DEFAULT to_timestamp((0)::double precision) NOT NULL
);
CREATE TABLE pgmq.q_upgrade (
    msg_id bigint NOT NULL,
    read_ct integer DEFAULT 0 NOT NULL,
    enqueued_at timestamp with time zone DEFAULT now() NOT NULL,
    last_read_at timestamp with time zone,
    vt timestamp with time zone NOT NULL,
    message jsonb,
    headers jsonb
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.01', autovacuum_vacuum_threshold='2000');
ALTER TABLE pgmq.q_upgrade ALTER COLUMN msg_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgmq.q_upgrade_msg_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE pgmq.topic_bindings (
    pattern text NOT NULL,
    queue_name text NOT NULL,
    bound_at timestamp with time zone DEFAULT now() NOT NULL,
    compiled_regex text GENERATED ALWAYS AS ((('^'::text || replace(replace(regexp_replace(pattern, '([.+?{}()|\[\]\\^$])'::text, '\\\1'::text, 'g'::text), '*'::text, '[^.]+'::text), '#'::text, '.*'::text)) || '$'::text)) STORED
);
CREATE TABLE public._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);
CREATE TABLE tasker.namespaces (
    namespace text NOT NULL,
    queue text NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE TABLE tasker.rejected_messages (
    rejected_message_id bigint NOT NULL,
    queue text NOT NULL,
    msg_id bigint NOT NULL,
    message jsonb,
    reason text NOT NULL,
    rejected_at timestamp with time zone NOT NULL
);
ALTER TABLE tasker.rejected_messages ALTER COLUMN rejected_message_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME tasker.rejected_messages_rejected_message_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE tasker.steps (
    task_id uuid NOT NULL,
    step_no smallint NOT NULL,
    pending_dependencies smallint NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    state tasker.state NOT NULL,
    due_at timestamp with time zone,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    token uuid,
    worker_id text,
    result jsonb,
    error jsonb,
    CONSTRAINT steps_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT steps_check CHECK (((token IS NOT NULL) = (state = 'in_progress'::tasker.state))),
    CONSTRAINT steps_check1 CHECK (((due_at IS NOT NULL) = ((state >= 'in_progress'::tasker.state) AND (state <= 'waiting_for_retry'::tasker.state)))),
    CONSTRAINT steps_check2 CHECK (((result IS NULL) OR (state = 'completed'::tasker.state) OR (state = 'resolved_manually'::tasker.state))),
    CONSTRAINT steps_check3 CHECK (((state = 'pending'::tasker.state) <= (pending_dependencies > 0))),
    CONSTRAINT steps_pending_dependencies_check CHECK ((pending_dependencies >= 0)),
    CONSTRAINT steps_state_check CHECK ((state <> 'blocked_by_failures'::tasker.state))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.05', autovacuum_analyze_scale_factor='0.05');
CREATE TABLE tasker.task_templates (
    template_id bigint NOT NULL,
    namespace text NOT NULL,
    name text NOT NULL,
    version text NOT NULL,
    version_key text NOT NULL COLLATE pg_catalog."C",
    definition jsonb NOT NULL,
    total_steps smallint NOT NULL,
    root_steps smallint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT task_templates_check CHECK (((root_steps >= 1) AND (root_steps <= total_steps))),
    CONSTRAINT task_templates_total_steps_check CHECK ((total_steps >= 1))
);
ALTER TABLE tasker.task_templates ALTER COLUMN template_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME tasker.task_templates_template_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE tasker.template_steps (
    template_id bigint NOT NULL,
    step_no smallint NOT NULL,
    name text NOT NULL,
    callable text NOT NULL,
    initialization jsonb NOT NULL,
    dependencies smallint[] NOT NULL,
    dependents smallint[] NOT NULL,
    max_attempts smallint NOT NULL,
    backoff text NOT NULL,
    backoff_base_ms bigint NOT NULL,
    max_backoff_ms bigint NOT NULL,
    timeout_seconds integer NOT NULL,
    CONSTRAINT template_steps_backoff_base_ms_check CHECK ((backoff_base_ms >= 0)),
    CONSTRAINT template_steps_backoff_check CHECK ((backoff = ANY (ARRAY['exponential'::text, 'linear'::text, 'fixed'::text]))),
    CONSTRAINT template_steps_max_attempts_check CHECK ((max_attempts >= 1)),
    CONSTRAINT template_steps_max_backoff_ms_check CHECK ((max_backoff_ms >= 0)),
    CONSTRAINT template_steps_step_no_check CHECK ((step_no >= 0)),
    CONSTRAINT template_steps_timeout_seconds_check CHECK ((timeout_seconds >= 1))
);
CREATE TABLE tasker.transitions (
    transition_id bigint NOT NULL,
    task_id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    step_no smallint,
    attempt smallint,
    from_state tasker.state,
    to_state tasker.state NOT NULL,
    actor text,
    reason text
)
WITH (autovacuum_vacuum_scale_factor='0.05', autovacuum_analyze_scale_factor='0.05');
ALTER TABLE tasker.transitions ALTER COLUMN transition_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME tasker.transitions_transition_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE tasker.workers (
    worker_id text NOT NULL,
    namespaces text[] NOT NULL,
    status text NOT NULL,
    max_concurrent integer NOT NULL,
    version text NOT NULL,
    host text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    last_heartbeat_at timestamp with time zone NOT NULL,
    CONSTRAINT workers_status_check CHECK ((status = ANY (ARRAY['running'::text, 'draining'::text, 'stopped'::text])))
)
WITH (fillfactor='50');
INSERT INTO pgmq.__pgmq_migrations VALUES ('pgmq.sql', '1.13.0', '2026-11-24 22:50:25.55911+00');
INSERT INTO pgmq.meta VALUES ('upgrade', false, false, '2026-11-24 22:50:46.678024+00');
INSERT INTO pgmq.q_upgrade OVERRIDING SYSTEM VALUE VALUES (6, 0, '2026-11-24 22:50:46.709045+00', NULL, '2026-11-01 12:00:00+00', '{"step_no": 0, "task_id": "019a3f00-0000-7000-8000-000000000006"}', NULL);
INSERT INTO pgmq.q_upgrade OVERRIDING SYSTEM VALUE VALUES (7, 0, '2026-11-24 22:50:46.709045+00', NULL, '2026-11-01 12:00:00+00', '{"step_no": 0, "task_id": "019a3f00-0000-7000-8000-000000000007"}', NULL);
INSERT INTO pgmq.q_upgrade OVERRIDING SYSTEM VALUE VALUES (8, 0, '2026-11-24 22:50:46.709045+00', NULL, '2026-11-01 12:00:00+00', '{"step_no": 0, "task_id": "019a3f00-0000-7000-8000-000000000008"}', NULL);
INSERT INTO pgmq.q_upgrade OVERRIDING SYSTEM VALUE VALUES (4, 1, '2026-11-24 22:50:46.709045+00', NULL, '2026-11-01 12:01:00+00', '{"step_no": 0, "task_id": "019a3f00-0000-7000-8000-000000000004"}', NULL);
INSERT INTO pgmq.q_upgrade OVERRIDING SYSTEM VALUE VALUES (2, 1, '2026-11-24 22:50:46.709045+00', NULL, '2026-11-01 12:00:00.862739+00', '{"step_no": 0, "task_id": "019a3f00-0000-7000-8000-000000000002"}', NULL);
INSERT INTO pgmq.q_upgrade OVERRIDING SYSTEM VALUE VALUES (11, 0, '2026-11-24 22:50:46.709045+00', NULL, '2026-11-01 12:01:00+00', '{"step_no": 1, "task_id": "019a3f00-0000-7000-8000-000000000005"}', NULL);
INSERT INTO public._sqlx_migrations VALUES (1, 'schema', '2026-11-24 22:50:25.572069+00', true, '\xc9ae62f6e7434f51040b47e260689d98e7f10c0e767bdb6aea314bc38a1b3211fbcd835bbdc1e693d11395ce9471fc3a', 43772453);
INSERT INTO public._sqlx_migrations VALUES (2, 'templates', '2026-11-24 22:50:25.616669+00', true, '\x4aad0c76fc4632657fb1ba6f55c80dd7326eb7ed2cc67636a1ff4fcd171f0b2bdfe1e0d923f8e373319fb3baac065870', 1142608);
INSERT INTO public._sqlx_migrations VALUES (3, 'messages', '2026-11-24 22:50:25.617928+00', true, '\x5bf8bd47b1ac3c5b13961927cb7c4c93d19990b01f8738a6f0b97f2ee71848dfee94f4e6d019f0f177a7ae04c2d611bb', 811276);
INSERT INTO public._sqlx_migrations VALUES (4, 'create tasks', '2026-11-24 22:50:25.618875+00', true, '\x4629954de1f10ed8c9b934ec4da1b2fbcf3f450d3f09c05daff0e095ef5246d208ff6b5a97f2fa970465d76c3f82a4b5', 4474749);
INSERT INTO public._sqlx_migrations VALUES (5, 'start steps', '2026-11-24 22:50:25.623495+00', true, '\x50c18222973e44b428c94d6c62841b69854800e0b91a6bf58e177bfe8e7788386a43cc85479db20cae4b5d0f52fdf771', 3855345);
INSERT INTO public._sqlx_migrations VALUES (6, 'complete steps', '2026-11-24 22:50:25.627505+00', true, '\x346368a44ac644c02bac60ee3497d4ee0f21f50f4e239d675b3b93450a41a44105535107b819fbd020a60d831b64ef72', 7822731);
INSERT INTO public._sqlx_migrations VALUES (7, 'operate', '2026-11-24 22:50:25.635478+00', true, '\x8e64101b28654d6a351647fed6ab843a4d6b64113bf4fad50fd8f31ffd4eb6af41fc2e745304113197c98f6e80eb06bf', 886942);
INSERT INTO public._sqlx_migrations VALUES (8, 'workers', '2026-11-24 22:50:25.636441+00', true, '\xa66fc5ec0f825e7c23b31bd07ac60015ee963f7c68237781e23ed0843a1291777061f816de78ba51a53805f703996375', 277777);
INSERT INTO public._sqlx_migrations VALUES (9, 'next due', '2026-11-24 22:50:25.63678+00', true, '\xe523e90b1ac091c3b56b32f48f210847e2086e9aa9c56174f1f9dbeb4b36fbf18ffb93432702a1abf68642f7da42d0e9', 293245);
INSERT INTO public._sqlx_migrations VALUES (10, 'list tasks', '2026-11-24 22:50:25.637136+00', true, '\x5b7e4e4eeade4a20ed6a87bca78d374ba4c880732cf0fcb5f35d32cd2cd850f3c2798e479cea4fa60499a28d882f0ead', 609333);
INSERT INTO public._sqlx_migrations VALUES (11, 'roles', '2026-11-24 22:50:25.637823+00', true, '\x5e8b51ef5d268d379efa475137650c6d8dc42485647e691f31e88416d725def56ce388ca74191fb3e8a42ea686b4f8d7', 498999);
INSERT INTO public._sqlx_migrations VALUES (12, 'housekeeping', '2026-11-24 22:50:25.638391+00', true, '\xb080681ce3a959b140285946cf359c456ca500cd98dfc2262a79d9b226f5c86b5c158f0de15ee00389734aa5d63122d0', 807797);
INSERT INTO tasker.namespaces VALUES ('upgrade', 'upgrade', '2026-11-01 12:00:00+00');
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000002', 1, 1, 0, 'pending', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000002', 2, 1, 0, 'pending', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000003', 1, 1, 0, 'pending', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000003', 2, 1, 0, 'pending', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000004', 1, 1, 0, 'pending', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000004', 2, 1, 0, 'pending', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000005', 2, 1, 0, 'pending', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000007', 0, 0, 0, 'enqueued', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000007', 1, 1, 0, 'pending', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000007', 2, 1, 0, 'pending', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000008', 0, 0, 0, 'enqueued', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000008', 1, 1, 0, 'pending', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000008', 2, 1, 0, 'pending', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000004', 0, 0, 1, 'in_progress', '2026-11-01 12:01:00+00', '2026-11-01 12:00:00+00', NULL, 'df85f39b-d09a-4da7-8500-12ec743ac13d', 'worker-0.1', NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000001', 0, 0, 1, 'completed', NULL, '2026-11-01 12:00:00+00', '2026-11-01 12:00:00+00', NULL, 'worker-0.1', '"one"', NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000001', 1, 0, 1, 'completed', NULL, '2026-11-01 12:00:00+00', '2026-11-01 12:00:00+00', NULL, 'worker-0.1', '"two"', NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000001', 2, 0, 1, 'completed', NULL, '2026-11-01 12:00:00+00', '2026-11-01 12:00:00+00', NULL, 'worker-0.1', '"three"', NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000002', 0, 0, 1, 'waiting_for_retry', '2026-11-01 12:00:00.862739+00', '2026-11-01 12:00:00+00', NULL, NULL, 'worker-0.1', NULL, '{"kind": "test", "message": "try again"}');
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000003', 0, 0, 1, 'failed', NULL, '2026-11-01 12:00:00+00', '2026-11-01 12:00:00+00', NULL, 'worker-0.1', NULL, '{"kind": "test", "message": "never"}');
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000005', 0, 0, 1, 'completed', NULL, '2026-11-01 12:00:00+00', '2026-11-01 12:00:00+00', NULL, 'worker-0.1', '"one"', NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000005', 1, 0, 1, 'in_progress', '2026-11-01 12:01:00+00', '2026-11-01 12:00:00+00', NULL, '0247a806-5dd5-45f5-9bba-6aabf71aaa4b', 'worker-0.1', NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000006', 0, 0, 0, 'cancelled', NULL, NULL, '2026-11-01 12:00:00+00', NULL, NULL, NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000006', 1, 1, 0, 'cancelled', NULL, NULL, '2026-11-01 12:00:00+00', NULL, NULL, NULL, NULL);
INSERT INTO tasker.steps VALUES ('019a3f00-0000-7000-8000-000000000006', 2, 1, 0, 'cancelled', NULL, NULL, '2026-11-01 12:00:00+00', NULL, NULL, NULL, NULL);
INSERT INTO tasker.task_templates OVERRIDING SYSTEM VALUE VALUES (1, 'upgrade', 'chain', '1.0.0', '0000000001.0000000000.0000000000~', '{"name": "chain", "steps": [], "version": "1.0.0", "namespace_name": "upgrade"}', 3, 1, '2026-11-01 12:00:00+00');
INSERT INTO tasker.tasks VALUES ('019a3f00-0000-7000-8000-000000000007', 1, '2026-11-01 12:00:00+00', NULL, NULL, 'pending', 0, 3, 0, 0, 1, 'upgrade', '\x7902699be42c8a8e46fbbb4501726517e86b22c56a189f7625a6da49081b2451', 'key-7', NULL, '{"n": 7}');
INSERT INTO tasker.tasks VALUES ('019a3f00-0000-7000-8000-000000000008', 1, '2026-11-01 12:00:00+00', NULL, NULL, 'pending', 0, 3, 0, 0, 1, 'upgrade', '\x2c624232cdd221771294dfbb310aca000a0df6ac8b66b696d90ef06fdefb64a3', 'key-8', NULL, '{"n": 8}');
INSERT INTO tasker.tasks VALUES ('019a3f00-0000-7000-8000-000000000002', 1, '2026-11-01 12:00:00+00', '2026-11-01 12:00:00+00', NULL, 'in_progress', 0, 3, 0, 0, 1, 'upgrade', '\xd4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35', 'key-2', NULL, '{"n": 2}');
INSERT INTO tasker.tasks VALUES ('019a3f00-0000-7000-8000-000000000004', 1, '2026-11-01 12:00:00+00', '2026-11-01 12:00:00+00', NULL, 'in_progress', 0, 3, 0, 0, 1, 'upgrade', '\x4b227777d4dd1fc61c6f884f48641d02b4d121d3fd328cb08b5531fcacdabf8a', 'key-4', NULL, '{"n": 4}');
INSERT INTO tasker.tasks VALUES ('019a3f00-0000-7000-8000-000000000001', 1, '2026-11-01 12:00:00+00', '2026-11-01 12:00:00+00', '2026-11-01 12:00:00+00', 'completed', 0, 3, 3, 0, 0, 'upgrade', '\x6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b', 'key-1', NULL, '{"n": 1}');
INSERT INTO tasker.tasks VALUES ('019a3f00-0000-7000-8000-000000000003', 1, '2026-11-01 12:00:00+00', '2026-11-01 12:00:00+00', NULL, 'blocked_by_failures', 0, 3, 0, 1, 0, 'upgrade', '\x4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce', 'key-3', NULL, '{"n": 3}');
INSERT INTO tasker.tasks VALUES ('019a3f00-0000-7000-8000-000000000005', 1, '2026-11-01 12:00:00+00', '2026-11-01 12:00:00+00', NULL, 'in_progress', 0, 3, 1, 0, 1, 'upgrade', '\xef2d127de37b942baad06145e54b0c619a1f22327b2ebbcfbec78f5564afe39d', 'key-5', NULL, '{"n": 5}');
INSERT INTO tasker.tasks VALUES ('019a3f00-0000-7000-8000-000000000006', 1, '2026-11-01 12:00:00+00', NULL, '2026-11-01 12:00:00+00', 'cancelled', 0, 3, 0, 0, 0, 'upgrade', '\xe7f6c011776e8db7cd330b54174fd76f7d0216b612387a5ffcfb81e6f0919683', 'key-6', NULL, '{"n": 6}');
INSERT INTO tasker.template_steps VALUES (1, 0, 'one', 'upgrade.one', '{}', '{}', '{1}', 3, 'exponential', 1000, 30000, 300);
INSERT INTO tasker.template_steps VALUES (1, 1, 'two', 'upgrade.two', '{}', '{0}', '{2}', 3, 'fixed', 1000, 1000, 300);
INSERT INTO tasker.template_steps VALUES (1, 2, 'three', 'upgrade.three', '{}', '{1}', '{}', 2, 'linear', 1000, 1000, 300);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (1, '019a3f00-0000-7000-8000-000000000001', '2026-11-01 12:00:00+00', NULL, NULL, NULL, 'pending', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (2, '019a3f00-0000-7000-8000-000000000001', '2026-11-01 12:00:00+00', 0, NULL, NULL, 'enqueued', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (3, '019a3f00-0000-7000-8000-000000000002', '2026-11-01 12:00:00+00', NULL, NULL, NULL, 'pending', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (4, '019a3f00-0000-7000-8000-000000000002', '2026-11-01 12:00:00+00', 0, NULL, NULL, 'enqueued', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (5, '019a3f00-0000-7000-8000-000000000003', '2026-11-01 12:00:00+00', NULL, NULL, NULL, 'pending', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (6, '019a3f00-0000-7000-8000-000000000003', '2026-11-01 12:00:00+00', 0, NULL, NULL, 'enqueued', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (7, '019a3f00-0000-7000-8000-000000000004', '2026-11-01 12:00:00+00', NULL, NULL, NULL, 'pending', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (8, '019a3f00-0000-7000-8000-000000000004', '2026-11-01 12:00:00+00', 0, NULL, NULL, 'enqueued', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (9, '019a3f00-0000-7000-8000-000000000005', '2026-11-01 12:00:00+00', NULL, NULL, NULL, 'pending', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (10, '019a3f00-0000-7000-8000-000000000005', '2026-11-01 12:00:00+00', 0, NULL, NULL, 'enqueued', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (11, '019a3f00-0000-7000-8000-000000000006', '2026-11-01 12:00:00+00', NULL, NULL, NULL, 'pending', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (12, '019a3f00-0000-7000-8000-000000000006', '2026-11-01 12:00:00+00', 0, NULL, NULL, 'enqueued', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (13, '019a3f00-0000-7000-8000-000000000007', '2026-11-01 12:00:00+00', NULL, NULL, NULL, 'pending', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (14, '019a3f00-0000-7000-8000-000000000007', '2026-11-01 12:00:00+00', 0, NULL, NULL, 'enqueued', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (15, '019a3f00-0000-7000-8000-000000000008', '2026-11-01 12:00:00+00', NULL, NULL, NULL, 'pending', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (16, '019a3f00-0000-7000-8000-000000000008', '2026-11-01 12:00:00+00', 0, NULL, NULL, 'enqueued', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (17, '019a3f00-0000-7000-8000-000000000001', '2026-11-01 12:00:00+00', NULL, NULL, 'pending', 'in_progress', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (18, '019a3f00-0000-7000-8000-000000000002', '2026-11-01 12:00:00+00', NULL, NULL, 'pending', 'in_progress', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (19, '019a3f00-0000-7000-8000-000000000003', '2026-11-01 12:00:00+00', NULL, NULL, 'pending', 'in_progress', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (20, '019a3f00-0000-7000-8000-000000000004', '2026-11-01 12:00:00+00', NULL, NULL, 'pending', 'in_progress', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (21, '019a3f00-0000-7000-8000-000000000005', '2026-11-01 12:00:00+00', NULL, NULL, 'pending', 'in_progress', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (22, '019a3f00-0000-7000-8000-000000000001', '2026-11-01 12:00:00+00', 0, 1, 'enqueued', 'in_progress', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (23, '019a3f00-0000-7000-8000-000000000002', '2026-11-01 12:00:00+00', 0, 1, 'enqueued', 'in_progress', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (24, '019a3f00-0000-7000-8000-000000000003', '2026-11-01 12:00:00+00', 0, 1, 'enqueued', 'in_progress', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (25, '019a3f00-0000-7000-8000-000000000004', '2026-11-01 12:00:00+00', 0, 1, 'enqueued', 'in_progress', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (26, '019a3f00-0000-7000-8000-000000000005', '2026-11-01 12:00:00+00', 0, 1, 'enqueued', 'in_progress', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (27, '019a3f00-0000-7000-8000-000000000001', '2026-11-01 12:00:00+00', 0, 1, 'in_progress', 'completed', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (28, '019a3f00-0000-7000-8000-000000000001', '2026-11-01 12:00:00+00', 1, NULL, 'pending', 'enqueued', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (29, '019a3f00-0000-7000-8000-000000000001', '2026-11-01 12:00:00+00', 1, 1, 'enqueued', 'in_progress', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (30, '019a3f00-0000-7000-8000-000000000001', '2026-11-01 12:00:00+00', 1, 1, 'in_progress', 'completed', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (31, '019a3f00-0000-7000-8000-000000000001', '2026-11-01 12:00:00+00', 2, NULL, 'pending', 'enqueued', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (32, '019a3f00-0000-7000-8000-000000000001', '2026-11-01 12:00:00+00', 2, 1, 'enqueued', 'in_progress', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (33, '019a3f00-0000-7000-8000-000000000001', '2026-11-01 12:00:00+00', 2, 1, 'in_progress', 'completed', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (34, '019a3f00-0000-7000-8000-000000000001', '2026-11-01 12:00:00+00', NULL, NULL, 'in_progress', 'completed', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (35, '019a3f00-0000-7000-8000-000000000002', '2026-11-01 12:00:00+00', 0, 1, 'in_progress', 'waiting_for_retry', 'worker-0.1', 'try again');
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (36, '019a3f00-0000-7000-8000-000000000003', '2026-11-01 12:00:00+00', 0, 1, 'in_progress', 'failed', 'worker-0.1', 'never');
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (37, '019a3f00-0000-7000-8000-000000000003', '2026-11-01 12:00:00+00', NULL, NULL, 'in_progress', 'blocked_by_failures', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (38, '019a3f00-0000-7000-8000-000000000005', '2026-11-01 12:00:00+00', 0, 1, 'in_progress', 'completed', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (39, '019a3f00-0000-7000-8000-000000000005', '2026-11-01 12:00:00+00', 1, NULL, 'pending', 'enqueued', NULL, NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (40, '019a3f00-0000-7000-8000-000000000005', '2026-11-01 12:00:00+00', 1, 1, 'enqueued', 'in_progress', 'worker-0.1', NULL);
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (41, '019a3f00-0000-7000-8000-000000000006', '2026-11-01 12:00:00+00', 0, NULL, 'enqueued', 'cancelled', 'someone', 'not needed');
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (42, '019a3f00-0000-7000-8000-000000000006', '2026-11-01 12:00:00+00', 1, NULL, 'pending', 'cancelled', 'someone', 'not needed');
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (43, '019a3f00-0000-7000-8000-000000000006', '2026-11-01 12:00:00+00', 2, NULL, 'pending', 'cancelled', 'someone', 'not needed');
INSERT INTO tasker.transitions OVERRIDING SYSTEM VALUE VALUES (44, '019a3f00-0000-7000-8000-000000000006', '2026-11-01 12:00:00+00', NULL, NULL, 'pending', 'cancelled', 'someone', 'not needed');
INSERT INTO tasker.workers VALUES ('worker-0.1', '{upgrade}', 'running', 10, '0.1.0', 'host', '2026-11-01 12:00:00+00', '2026-11-01 12:00:00+00');
SELECT pg_catalog.setval('pgmq.q_upgrade_msg_id_seq', 11, true);
SELECT pg_catalog.setval('tasker.rejected_messages_rejected_message_id_seq', 1, false);
SELECT pg_catalog.setval('tasker.task_templates_template_id_seq', 1, true);
SELECT pg_catalog.setval('tasker.transitions_transition_id_seq', 44, true);
ALTER TABLE ONLY pgmq.__pgmq_migrations
    ADD CONSTRAINT __pgmq_migrations_pkey PRIMARY KEY (name);
ALTER TABLE ONLY pgmq.a_upgrade
    ADD CONSTRAINT a_upgrade_pkey PRIMARY KEY (msg_id);
ALTER TABLE ONLY pgmq.meta
    ADD CONSTRAINT meta_queue_name_key UNIQUE (queue_name);
ALTER TABLE ONLY pgmq.notify_insert_throttle
    ADD CONSTRAINT notify_insert_throttle_queue_name_key UNIQUE (queue_name);
ALTER TABLE ONLY pgmq.q_upgrade
    ADD CONSTRAINT q_upgrade_pkey PRIMARY KEY (msg_id);
ALTER TABLE ONLY pgmq.topic_bindings
    ADD CONSTRAINT topic_bindings_unique_pattern_queue UNIQUE (pattern, queue_name);
ALTER TABLE ONLY public._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY tasker.namespaces
    ADD CONSTRAINT namespaces_pkey PRIMARY KEY (namespace);
ALTER TABLE ONLY tasker.namespaces
    ADD CONSTRAINT namespaces_queue_key UNIQUE (queue);
ALTER TABLE ONLY tasker.rejected_messages
    ADD CONSTRAINT rejected_messages_pkey PRIMARY KEY (rejected_message_id);
ALTER TABLE ONLY tasker.steps
    ADD CONSTRAINT steps_pkey PRIMARY KEY (task_id, step_no);
ALTER TABLE ONLY tasker.task_templates
    ADD CONSTRAINT task_templates_namespace_name_version_key UNIQUE (namespace, name, version);
ALTER TABLE ONLY tasker.task_templates
    ADD CONSTRAINT task_templates_pkey PRIMARY KEY (template_id);
ALTER TABLE ONLY tasker.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (task_id);
ALTER TABLE ONLY tasker.template_steps
    ADD CONSTRAINT template_steps_pkey PRIMARY KEY (template_id, step_no);
ALTER TABLE ONLY tasker.template_steps
    ADD CONSTRAINT template_steps_template_id_name_key UNIQUE (template_id, name);
ALTER TABLE ONLY tasker.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (worker_id);
CREATE INDEX archived_at_idx_upgrade ON pgmq.a_upgrade USING btree (archived_at);
CREATE INDEX idx_notify_throttle_active ON pgmq.notify_insert_throttle USING btree (queue_name, last_notified_at) WHERE (throttle_interval_ms > 0);
CREATE INDEX idx_topic_bindings_covering ON pgmq.topic_bindings USING btree (pattern) INCLUDE (queue_name, compiled_regex);
CREATE INDEX q_upgrade_vt_idx ON pgmq.q_upgrade USING btree (vt);
CREATE UNIQUE INDEX task_templates_latest ON tasker.task_templates USING btree (namespace, name, version_key DESC);
CREATE UNIQUE INDEX tasks_idempotency_key ON tasker.tasks USING btree (idempotency_key) WHERE (idempotency_key IS NOT NULL);
CREATE INDEX tasks_listed ON tasker.tasks USING btree (namespace, state, task_id);
CREATE INDEX transitions_of_task ON tasker.transitions USING btree (task_id, transition_id);
ALTER TABLE ONLY pgmq.notify_insert_throttle
    ADD CONSTRAINT notify_insert_throttle_meta_queue_name_fk FOREIGN KEY (queue_name) REFERENCES pgmq.meta(queue_name) ON DELETE CASCADE;
ALTER TABLE ONLY pgmq.topic_bindings
    ADD CONSTRAINT topic_bindings_meta_queue_name_fk FOREIGN KEY (queue_name) REFERENCES pgmq.meta(queue_name) ON DELETE CASCADE;
ALTER TABLE ONLY tasker.steps
    ADD CONSTRAINT steps_task_id_fkey FOREIGN KEY (task_id) REFERENCES tasker.tasks(task_id) ON DELETE CASCADE;
ALTER TABLE ONLY tasker.task_templates
    ADD CONSTRAINT task_templates_namespace_fkey FOREIGN KEY (namespace) REFERENCES tasker.namespaces(namespace);
ALTER TABLE ONLY tasker.tasks
    ADD CONSTRAINT tasks_template_id_fkey FOREIGN KEY (template_id) REFERENCES tasker.task_templates(template_id);
ALTER TABLE ONLY tasker.template_steps
    ADD CONSTRAINT template_steps_template_id_fkey FOREIGN KEY (template_id) REFERENCES tasker.task_templates(template_id) ON DELETE CASCADE;
