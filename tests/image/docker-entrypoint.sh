#!/usr/bin/env bash
# Initialises $PGDATA on the first start, then becomes the server. Written for the tests of hive-pg: it keeps the
# contract of the official image's entrypoint (variables, order, messages, signals; see README.md), not its code.
#
# Signals need no code here: until the final exec bash is PID 1, for which the kernel drops SIGTERM (no handler), and
# bash itself forgets a SIGINT that the child it waits for survived. So `docker stop` during the first start does nothing.
set -Eeuo pipefail

# Sets and exports NAME from $NAME, else from the file $NAME_FILE, else to the default.
variable_or_file() { # NAME [DEFAULT]
    local name=$1 file_name=$1_FILE value=${2-}
    if [ "${!name-}" ] && [ "${!file_name-}" ]; then
        echo >&2 "error: both $name and $file_name are set (but are exclusive)"
        exit 1
    fi
    if [ "${!name-}" ]; then
        value=${!name}
    elif [ "${!file_name-}" ]; then
        value=$(<"${!file_name}")
    fi
    export "$name=$value"
    unset "$file_name"
}

read_environment() {
    variable_or_file POSTGRES_PASSWORD
    variable_or_file POSTGRES_USER postgres
    variable_or_file POSTGRES_DB "$POSTGRES_USER"
    variable_or_file POSTGRES_INITDB_ARGS
    : "${POSTGRES_HOST_AUTH_METHOD:=}"
    DATABASE_ALREADY_EXISTS=
    # Also false, as in the official image, when the directory is not ours to read.
    if [ -s "$PGDATA/PG_VERSION" ]; then DATABASE_ALREADY_EXISTS=true; fi
}

create_directories() {
    mkdir -p "$PGDATA" # the one failure that ends the start
    chmod 00700 "$PGDATA" || :
    mkdir -p /var/run/postgresql || :
    chmod 03775 /var/run/postgresql || :
    if [ "${POSTGRES_INITDB_WALDIR-}" ]; then
        mkdir -p "$POSTGRES_INITDB_WALDIR"
        chmod 700 "$POSTGRES_INITDB_WALDIR"
    fi
    if [ "$(id -u)" = 0 ]; then
        local directories=("$PGDATA" /var/run/postgresql)
        if [ "${POSTGRES_INITDB_WALDIR-}" ]; then directories+=("$POSTGRES_INITDB_WALDIR"); fi
        find "${directories[@]}" \! -user postgres -exec chown postgres '{}' +
    fi
}

check_environment() {
    if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
        cat >&2 <<-'EOM'
			Error: Database is uninitialized and superuser password is not specified.
			       You must specify POSTGRES_PASSWORD to a non-empty value for the
			       superuser, as in "-e POSTGRES_PASSWORD=..." of "docker run".
		EOM
        exit 1
    fi
    if [ "$POSTGRES_HOST_AUTH_METHOD" = trust ]; then
        cat >&2 <<-'EOM'
			WARNING: POSTGRES_HOST_AUTH_METHOD has been set to "trust". This will allow
			         anyone who reaches the server to log in without a password.
		EOM
    fi
}

# Whether initdb would make what stands in the image: nothing is asked of it that was not asked there.
template_will_do() {
    local there
    [ -d "${HIVE_PG_TEST_TEMPLATE:-}" ] && there=$(ls -A "$PGDATA") && [ -z "$there" ] && [[ $POSTGRES_USER != pg_* ]] &&
        [ -z "${POSTGRES_INITDB_WALDIR-}$POSTGRES_INITDB_ARGS${TZ-}${LC_ALL-}" ] && [ "$LANG" = en_US.utf8 ]
}

# The superuser cannot be renamed by its own session but in the catalog.
name_superuser() {
    local quote="'"
    postgres --single -D "$PGDATA" -c exit_on_error=on -c log_checkpoints=off template1 >/dev/null <<-EOS
		update pg_authid set rolname = '${POSTGRES_USER//$quote/$quote$quote}' where oid = 10
		${POSTGRES_PASSWORD:+alter role current_user password '${POSTGRES_PASSWORD//$quote/$quote$quote}'}
	EOS
}

# As initdb: its words, PG_VERSION first, and what fails is removed again.
copy_template() {
    sed "s:@PGDATA@:$PGDATA:g" "$HIVE_PG_TEST_TEMPLATE.log"
    if ! { (umask 077 && cp "$HIVE_PG_TEST_TEMPLATE/PG_VERSION" "$PGDATA" && cp -R "$HIVE_PG_TEST_TEMPLATE/." "$PGDATA") &&
        name_superuser; }; then
        echo >&2 "initdb: removing contents of data directory \"$PGDATA\""
        find "$PGDATA" -mindepth 1 -delete
        exit 1
    fi
}

# initdb asks for the name of its own uid; a uid without a passwd entry gets one for this call only.
init_data_directory() {
    local -x LD_PRELOAD=${LD_PRELOAD-} NSS_WRAPPER_PASSWD='' NSS_WRAPPER_GROUP=''
    local uid options=(--username="$POSTGRES_USER" --pwfile=/dev/stdin)
    uid=$(id -u)
    if ! getent passwd "$uid" >/dev/null; then
        NSS_WRAPPER_PASSWD=$(mktemp)
        NSS_WRAPPER_GROUP=$(mktemp)
        LD_PRELOAD=libnss_wrapper.so
        echo "postgres:x:$uid:$(id -g):PostgreSQL:$PGDATA:/bin/false" >"$NSS_WRAPPER_PASSWD"
        echo "postgres:x:$(id -g):" >"$NSS_WRAPPER_GROUP"
    fi
    if [ "${POSTGRES_INITDB_WALDIR-}" ]; then options+=(--waldir="$POSTGRES_INITDB_WALDIR"); fi
    eval "options+=($POSTGRES_INITDB_ARGS)" # they may be quoted as in a shell
    if template_will_do; then copy_template; else initdb "${options[@]}" <<<"$POSTGRES_PASSWORD"; fi
    if [ "$NSS_WRAPPER_PASSWD" ]; then rm -f "$NSS_WRAPPER_PASSWD" "$NSS_WRAPPER_GROUP"; fi
}

# Inside the container everybody is trusted (initdb's lines), from outside a password is asked for.
append_host_rule() { # SERVER ARGUMENT...
    local method=${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption "$@")}
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

start_temporary_server() { # SERVER ARGUMENT...
    local arguments
    arguments=$(printf '%q ' "$@" -c listen_addresses='' -p "${PGPORT:-5432}")
    NOTIFY_SOCKET='' PGUSER=${PGUSER:-$POSTGRES_USER} pg_ctl -D "$PGDATA" -o "$arguments" -w start
}

stop_temporary_server() {
    PGUSER=${PGUSER:-postgres} pg_ctl -D "$PGDATA" -m fast -w stop
}

# The temporary server listens on its socket only, whatever PGHOST says.
run_sql() { # DATABASE PSQL ARGUMENT...
    local database=$1
    shift
    PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$database" --no-password --no-psqlrc "$@"
}

create_database() {
    local exists
    exists=$(run_sql postgres -v name="$POSTGRES_DB" -At <<<"SELECT 1 FROM pg_database WHERE datname = :'name'")
    if [ -z "$exists" ]; then
        run_sql postgres -v name="$POSTGRES_DB" <<<'CREATE DATABASE :"name"'
        printf '\n'
    fi
}

run_init_files() {
    local file
    printf '\n'
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
            *.sh)
                if [ -x "$file" ]; then
                    echo "$0: running $file"
                    "$file"
                else
                    echo "$0: sourcing $file"
                    # shellcheck disable=SC1090
                    . "$file"
                fi
                ;;
            *.sql) echo "$0: running $file"; run_sql "$POSTGRES_DB" -f "$file"; printf '\n' ;;
            *.sql.gz) echo "$0: running $file"; gunzip -c "$file" | run_sql "$POSTGRES_DB"; printf '\n' ;;
            *) echo "$0: ignoring $file" ;;
        esac
        printf '\n'
    done
}

initialise() { # SERVER ARGUMENT...
    check_environment
    ls /docker-entrypoint-initdb.d/ >/dev/null # unreadable: fail before anything is written
    init_data_directory
    append_host_rule "$@"
    start_temporary_server "$@"
    sleep "${HIVE_PG_TEST_INIT_DELAY:-0}"
    create_database
    run_init_files
    stop_temporary_server
    printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

main() {
    local argument
    if [[ ${1-} = -* ]]; then set -- postgres "$@"; fi
    if [ "${1-}" != postgres ]; then exec "$@"; fi
    for argument in "${@:2}"; do
        case "$argument" in
            -\? | --help | --describe-config | -V | --version) exec "$@" ;;
        esac
    done

    read_environment
    create_directories
    if [ "$(id -u)" = 0 ]; then exec gosu postgres "${BASH_SOURCE[0]}" "$@"; fi
    if [ "$DATABASE_ALREADY_EXISTS" ]; then
        printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
    else
        initialise "${@:2}"
    fi
    exec "$@"
}

main "$@"
