-- Run once, as the superuser, when PostgreSQL makes a new volume. The processes of ElasticNAS log in
-- as a role that owns its database and can do nothing outside it.
\getenv password DATABASE_PASSWORD
CREATE ROLE elasticnas LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE elasticnas OWNER elasticnas;
REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
REVOKE CONNECT, TEMPORARY ON DATABASE elasticnas FROM PUBLIC;
