# Sourced by docker-entrypoint.sh (not executable), as in agnohq/pgvector: the extension stands in $POSTGRES_DB only.
# shellcheck shell=bash
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" -c 'CREATE EXTENSION IF NOT EXISTS vector'
