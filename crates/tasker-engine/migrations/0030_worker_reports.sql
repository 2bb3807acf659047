-- What a worker reports with its heartbeats beyond its name and state. Null for programs of releases that do not
-- report it.
alter table tasker.workers
    add column handlers             text[],
    add column running_steps        integer,
    add column completed_steps      bigint,
    add column failed_steps         bigint,
    add column completed_per_second double precision,
    add column failed_per_second    double precision;
