-- Two roles: shop_owner runs migrate, and shop_app is what servers and workers log in as.
-- Once, as a superuser, in the database of the shop: psql --set ON_ERROR_STOP=1 --single-transaction --file roles.sql
-- Then give each a password, or a certificate: \password shop_owner

CREATE ROLE shop_owner LOGIN;
CREATE ROLE shop_app LOGIN;

-- What migrate needs: tables, functions and triggers of its own in the schema.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO shop_owner;
-- Optional. With it messages say what blocks a statement, and a backfill sees how far replicas are behind.
GRANT pg_monitor TO shop_owner;
-- Tables that another role has made so far: REASSIGN OWNED BY old_role TO shop_owner;

-- What the application needs: rows. No CREATE, no ownership, no pg_monitor.
GRANT USAGE ON SCHEMA public TO shop_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO shop_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO shop_app;
-- The same for whatever migrate makes later, the views that stand under old names included.
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO shop_app;
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA public
    GRANT USAGE, SELECT ON SEQUENCES TO shop_app;
