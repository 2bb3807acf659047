-- What is installed, so that a program can tell at its start whether it fits the database.

create table tasker.installation (
    -- One row only.
    singleton      boolean primary key default true check (singleton),
    -- SHA-256 of the sources of the functions.
    functions_hash bytea not null,
    -- The release that installed them.
    installed_by   text not null,
    installed_at   timestamptz not null,
    -- Programs whose newest migration has this number or a later one can use the schema.
    oldest_program bigint not null
);
