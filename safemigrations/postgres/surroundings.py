"""Queries about what is around a migration: limits, other sessions, replication, disks. Any role may ask them."""

from __future__ import annotations

from collections.abc import Iterable

from .values import literals


def timeouts() -> str:
    """The timeouts of the session that are not off: name, value for people, source as in pg_settings."""
    names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"]
    return (
        "SELECT name, current_setting(name), source FROM pg_settings"
        f" WHERE name IN ({literals(names)}) AND setting <> '0' ORDER BY name"
    )


def where_and_who() -> str:
    """The role that connected, and the database."""
    return "SELECT session_user::text, current_database()::text"


def free_connections() -> str:
    """Asks the server, the role and the database how many connections each still has for this role, and its limit.

    Nothing limits a superuser but the server. https://www.postgresql.org/docs/current/runtime-config-connection.html
    """
    return (
        "WITH sessions AS MATERIALIZED (SELECT usesysid, datid FROM pg_stat_activity WHERE usesysid IS NOT NULL"
        " AND leader_pid IS NULL AND coalesce(backend_type, 'client backend') = 'client backend'),"
        " role AS (SELECT *, coalesce(pg_has_role(oid, to_regrole('pg_use_reserved_connections'), 'MEMBER'), FALSE)"
        " AS may_use_reserved FROM pg_roles WHERE rolname = session_user)"
        " SELECT 'server', (limits.all_of_them - (SELECT count(*) FROM sessions))::int, limits.all_of_them FROM role,"
        " LATERAL (SELECT current_setting('max_connections')::int"
        " - CASE WHEN rolsuper THEN 0 ELSE current_setting('superuser_reserved_connections')::int END"
        " - CASE WHEN may_use_reserved THEN 0 ELSE coalesce(current_setting('reserved_connections', true), '0')::int"
        " END AS all_of_them) AS limits"
        " UNION ALL SELECT 'role', (rolconnlimit - (SELECT count(*) FROM sessions WHERE usesysid = role.oid))::int,"
        " rolconnlimit FROM role WHERE rolconnlimit >= 0 AND NOT rolsuper"
        " UNION ALL SELECT 'database', (datconnlimit - (SELECT count(*) FROM sessions WHERE datid = d.oid))::int,"
        " datconnlimit FROM pg_database d, role WHERE datname = current_database() AND datconnlimit >= 0"
        " AND NOT rolsuper"
    )


def old_transactions(seconds: float, but_for: str) -> str:
    """Sessions of this database whose transaction is older (see running/locking/blockers.py), the oldest first.

    `but_for` is a query for the pids that don't count. The end of a wait for us is no matter of an autovacuum.
    """
    return (
        "SELECT pid, coalesce(application_name, ''), coalesce(backend_type, ''), coalesce(state, ''),"
        " extract(epoch FROM clock_timestamp() - xact_start)::float, coalesce(query, '') FROM pg_stat_activity"
        f" WHERE datname = current_database() AND xact_start < clock_timestamp() - interval '{seconds} s'"
        f" AND pid <> pg_backend_pid() AND pid NOT IN ({but_for})"
        " AND (backend_type <> 'autovacuum worker' OR query LIKE '%to prevent wraparound%') ORDER BY xact_start"
    )


def hidden_sessions() -> str:
    """How many sessions of this database this role can't look at, as it hasn't the privileges of pg_read_all_stats."""
    return (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usesysid IS NOT NULL"
        " AND NOT pg_has_role(usesysid, 'USAGE') AND NOT pg_has_role('pg_read_all_stats', 'USAGE')"
    )


def prepared_transactions() -> str:
    """Those of this database, the oldest first: their name, quoted, and their age in seconds."""
    return (
        "SELECT quote_literal(gid), extract(epoch FROM clock_timestamp() - prepared)::float FROM pg_prepared_xacts"
        " WHERE database = current_database() ORDER BY prepared"
    )


def event_triggers() -> str:
    """Those that are on and belong to no extension: name, event and function."""
    return (
        "SELECT evtname::text, evtevent::text, evtfoid::regproc::text FROM pg_event_trigger t WHERE evtenabled <> 'D'"
        " AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_event_trigger'::regclass AND objid = t.oid"
        " AND deptype = 'e') ORDER BY evtname"
    )


def replicas_behind(seconds: float) -> str:
    """The replicas that are this far behind, the slowest first: their name and the seconds."""
    return (
        "SELECT coalesce(nullif(application_name, ''), host(client_addr), pid::text),"
        " extract(epoch FROM replay_lag)::float FROM pg_stat_replication"
        f" WHERE replay_lag > interval '{seconds} s' ORDER BY replay_lag DESC"
    )


def slots_behind(size: int) -> str:
    """The replication slots that retain more than so many bytes of WAL, most first: their name and the size."""
    return (
        "SELECT slot_name, pg_size_pretty(retained) FROM (SELECT slot_name::text,"
        " pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) AS retained FROM pg_replication_slots) AS slots"
        f" WHERE retained > {size} ORDER BY retained DESC"
    )


def slots_without_reader() -> str:
    """The replication slots without a reader: their name, quoted, and the WAL that they retain."""
    return (
        "SELECT slot_name::text, quote_literal(slot_name), pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(),"
        " restart_lsn)) FROM pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL ORDER BY slot_name"
    )


def publications(tables: Iterable[str]) -> str:
    """Which of these tables are published, with all of their columns: the table as it was given, the publications."""
    return (
        "SELECT wanted, array_agg(DISTINCT p.pubname::text ORDER BY p.pubname::text)"
        f" FROM unnest(ARRAY[{literals(tables)}]::text[]) AS wanted"
        " JOIN pg_class c ON c.oid = to_regclass(wanted) JOIN pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_publication_tables p ON p.schemaname = n.nspname AND p.tablename = c.relname"
        " WHERE NOT EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication b ON b.oid = r.prpubid"
        " WHERE r.prrelid = c.oid AND b.pubname = p.pubname"
        " AND to_jsonb(r) ->> 'prattrs' IS NOT NULL)"  # PostgreSQL 14 has no lists of columns
        " GROUP BY wanted ORDER BY wanted"
    )


def subscriptions(tables: Iterable[str]) -> str:
    """Which of these tables are filled by a subscription: the table as it was given, the subscriptions."""
    return (
        "SELECT wanted, array_agg(s.subname::text ORDER BY s.subname::text)"
        f" FROM unnest(ARRAY[{literals(tables)}]::text[]) AS wanted"
        " JOIN pg_subscription_rel r ON r.srrelid = to_regclass(wanted) JOIN pg_subscription s ON s.oid = r.srsubid"
        " GROUP BY wanted ORDER BY wanted"
    )


def data_directory() -> str:
    """The data directory, NULL if this role may not know it; and whether the session comes from the same machine."""
    return (
        "SELECT CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('data_directory') END,"
        " coalesce(inet_server_addr() = inet_client_addr(), inet_client_addr() IS NULL)"
    )


def size_of_tables(tables: Iterable[str]) -> str:
    """The bytes of these tables with their indexes, those that are there."""
    return (
        "SELECT coalesce(sum(pg_total_relation_size(to_regclass(wanted))), 0)::bigint"
        f" FROM unnest(ARRAY[{literals(tables)}]::text[]) AS wanted"
    )
