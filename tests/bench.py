"""Measure hive-pg against the bare minimum: `python tests/bench.py [--rounds N] [--short]`.

Whole processes of the installed console script, and of hive_pg.py where a row says "file"; medians,
the two sides of a row taken in turn in one run. It prints ratios beside the goals and asserts
nothing: a machine has bad days. Needs a Docker engine, the image of tests/image/build (or --image),
and `hive-pg` installed beside this interpreter.

Clusters are removed at the end. An ext4 without a journal, which virtual machines often have, does
not reuse an inode for a minute after its deletion, and tries every such inode again for each new
file: with each cluster removed between the rounds, initdb took 0.6 s at first and 1.4 s after some.
So the run also begins with a wait until new files are made fast.
Source: recently_deleted() in https://github.com/torvalds/linux/blob/master/fs/ext4/ialloc.c
"""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

HERE = Path(__file__).parent
HIVE_PG = str(Path(sys.executable).with_name("hive-pg"))
FILE = str(HERE.parent / "hive_pg.py")
SLOW_FILE_MS = 0.1
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


def quietly(*argv: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a program that has to succeed."""
    subprocess.run(argv, cwd=cwd, env=env, check=True, capture_output=True)


def seconds(action: Callable[[], object]) -> float:
    """Time one call."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def paired(
    rounds: int, ours: Callable[[], float], theirs: Callable[[], float]
) -> tuple[float, float]:
    """Return the medians of both sides, each the first of a pair every other time."""
    times: dict[Callable[[], float], list[float]] = {ours: [], theirs: []}
    for number in range(rounds):
        for side in (theirs, ours) if number % 2 else (ours, theirs):
            times[side].append(side())
    return statistics.median(times[ours]), statistics.median(times[theirs])


def row(what: str, ours: float, theirs: float, goal: float) -> None:
    """Print one line of the table."""
    verdict = "met" if ours / theirs <= goal else "MISSED"
    print(
        f"{what:<46} {ours * 1000:8.0f} ms {theirs * 1000:8.0f} ms"
        f" {ours / theirs:6.2f} x  <= {goal:.2f} x  {verdict}",
        flush=True,
    )


def process(*argv: str) -> Callable[[], float]:
    """Return what times one run of a program."""
    return lambda: seconds(lambda: quietly(*argv))


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def directory() -> Iterator[Path]:
    """Give a workspace's directory, which goes with all the others at the end of the run."""
    path = Path(tempfile.mkdtemp(prefix="hive-pg-bench-"))
    atexit.register(shutil.rmtree, path)
    yield path


def time_file() -> float:
    """Return how many milliseconds one new file takes."""
    with directory() as path:
        return seconds(lambda: [(path / str(number)).touch() for number in range(300)]) / 0.3


def settle() -> None:
    """Wait, for 30 s at most, until new files are made fast, and print how fast that is."""
    os.sync()
    deadline = time.monotonic() + 30
    while (milliseconds := time_file()) > SLOW_FILE_MS and time.monotonic() < deadline:
        time.sleep(5)
    print(f"a new file takes {milliseconds:.2f} ms; above {SLOW_FILE_MS}, initdb takes longer")


def remove(workspace: Path) -> None:
    """Remove the container and the network of a workspace."""
    quietly("docker", "compose", "down", "--timeout", "5", cwd=workspace)


def init(workspace: Path, image: str, port: int) -> None:
    """Run the main job."""
    env = {**os.environ, "HIVE_POSTGRES_CONTAINER": ""}
    argv = [HIVE_PG, "init", str(workspace), "--yes", "--image", image, "--port", str(port)]
    quietly(*argv, env=env)


def time_init(image: str) -> float:
    """Time `init` from an empty directory to a verified database."""
    with directory() as workspace:
        try:
            return seconds(lambda: init(workspace, image, free_port()))
        finally:
            remove(workspace)


def time_docker_run(image: str) -> float:
    """Time `docker run` until the published port answers, asked every 2 ms."""
    port, name = free_port(), f"hive-pg-bench-{os.getpid()}"
    with directory() as workspace:
        data = workspace / "data"
        data.mkdir(mode=0o700)
        os.chown(data, 1000, 1000)

        def run() -> None:
            quietly(
                *("docker", "run", "-d", "--name", name, "-p", f"127.0.0.1:{port}:5432"),
                *("--user", "1000:1000", "-e", "POSTGRES_PASSWORD=x", "-e", "POSTGRES_DB=hive"),
                *("-e", "PGDATA=/var/lib/postgresql/data/pgdata"),
                *("-v", f"{data}:/var/lib/postgresql/data", image),
            )
            while not answers(port):
                time.sleep(0.002)

        try:
            return seconds(run)
        finally:
            quietly("docker", "rm", "-f", "-v", name)


def answers(port: int) -> bool:
    """Whether PostgreSQL answers on a port of this machine."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(SSL_REQUEST)
            return connection.recv(1) in (b"S", b"N")
    except OSError:
        return False


def time_compose_wait(image: str) -> float:
    """Time `docker compose up -d --wait` of the original compose file."""
    text = (HERE / "data" / "original-docker-compose.yml").read_text()
    text = text.replace("agnohq/pgvector:16", image).replace("5532:", f"{free_port()}:")
    text = text.replace("hive-postgres", f"hive-pg-bench-{os.getpid()}")
    with directory() as workspace:
        (workspace / "docker-compose.yml").write_text(text)
        (workspace / ".env").write_text("POSTGRES_USER=hive\nPOSTGRES_PASSWORD=x\n")
        (workspace / "data" / "postgres").mkdir(parents=True, mode=0o700)
        os.chown(workspace / "data" / "postgres", 1000, 1000)
        try:
            return seconds(
                lambda: quietly("docker", "compose", "up", "-d", "--wait", cwd=workspace)
            )
        finally:
            remove(workspace)


def peak_memory_mb(*argv: str) -> float:
    """Return the largest resident size of one process, without its children, in MB."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(argv)} ended with {process.returncode}")
    return usage.ru_maxrss / 1024


def fill(workspace: Path, megabytes: int) -> None:
    """Put so many rows of about 1 kB into the database, which a dump makes smaller by half."""
    sql = "create table filler as select string_agg(md5((i * 32 + j)::text), '') from"
    sql += f" generate_series(1, {megabytes * 1000}) i, generate_series(1, 32) j group by i"
    quietly(HIVE_PG, "psql", str(workspace), "--", "-c", sql)


def time_backup(workspace: Path) -> float:
    """Time a backup."""
    path = workspace / "ours.dump"
    return seconds(lambda: quietly(HIVE_PG, "backup", str(workspace), "-o", str(path)))


def time_pg_dump(workspace: Path, container: str, user: str) -> float:
    """Time what a person would type, to a file on the disk."""
    script = f"docker exec {container} pg_dump -U {user} -Fc hive > theirs.dump && sync theirs.dump"
    return seconds(lambda: quietly("sh", "-c", script, cwd=workspace))


VECTORS = """
create table items as select i, (select array_agg(random()) from generate_series(1, 96) where i > 0)
    ::vector(96) as v from generate_series(1, {rows}) i;
create index on items using hnsw (v vector_l2_ops)
"""


def time_snapshot(workspace: Path) -> tuple[float, float]:
    """Time a snapshot, and its restore; what came of both goes."""
    ws = str(workspace)
    there = seconds(lambda: quietly(HIVE_PG, "snapshot", ws, "@bench"))
    back = seconds(lambda: quietly(HIVE_PG, "restore", ws, "@bench", "--yes"))
    quietly(HIVE_PG, "snapshot", ws, "@bench", "--drop", "--yes")
    quietly(HIVE_PG, "restore", ws, "--drop-old", "--yes")
    return there, back


def time_copy(container: str, user: str) -> float:
    """Time what a person would type for a copy."""
    client = f"docker exec -i {container}"
    script = f"{client} createdb -U {user} copied && {client} pg_dump -U {user} -Fc hive |"
    script += f" {client} pg_restore -U {user} -d copied"
    try:
        return seconds(lambda: quietly("sh", "-c", script))
    finally:
        quietly("docker", "exec", container, "dropdb", "-U", user, "copied")


@contextmanager
def filled(image: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """Give a workspace with vectors in its database, and what its `.env` says."""
    with directory() as workspace:
        try:
            init(workspace, image, free_port())
            vectors = VECTORS.format(rows=20000)
            quietly(HIVE_PG, "psql", str(workspace), "--", "-c", vectors)
            lines = (workspace / ".env").read_text().split()
            yield workspace, dict(line.split("=", 1) for line in lines)
        finally:
            remove(workspace)


def time_push(image: str) -> tuple[float, float]:
    """Time `push`, and the bare pipe, into databases of a second server on the same network."""
    with filled(image) as (workspace, env):
        name, user = env["HIVE_POSTGRES_CONTAINER"], env["POSTGRES_USER"]
        other, ask = f"{name}-other", ("--network", f"{env['COMPOSE_PROJECT_NAME']}_app_network")
        quietly("docker", "run", "-d", "--name", other, *ask, "-e", "POSTGRES_PASSWORD=x", image)
        there = ("docker", "exec", other, "psql", "-XqU", "postgres", "-h", "127.0.0.1", "-c")
        pipe = f"export PGPASSWORD=x; pg_dump -Fc -U {user} hive | pg_restore -1 --no-owner -xd"

        def ours() -> float:
            url = {"BENCH_URL": f"postgresql://postgres:x@{other}/ours"}
            argv = (HIVE_PG, "push", str(workspace), "--url-env", "BENCH_URL")
            quietly(*there, "drop database if exists ours with (force)")
            quietly(*there, "create database ours")
            return seconds(lambda: quietly(*argv, env={**os.environ, **url}))

        def theirs() -> float:
            target = f"'postgresql://postgres@{other}/theirs'"
            script = f"{pipe} {target} && psql {target} -qc analyze"
            argv = ("docker", "exec", name, "sh", "-c", script)
            quietly(*there, "drop database if exists theirs with (force)")
            quietly(*there, "create database theirs")
            return seconds(lambda: quietly(*argv))

        try:
            while subprocess.run([*there, "select 1"], capture_output=True).returncode:
                time.sleep(0.1)
            return paired(3, ours, theirs)
        finally:
            quietly("docker", "rm", "--force", "--volumes", other)


def time_init_from(image: str) -> tuple[float, float]:
    """Time `init --from`, and `init` with the bare pipe into its database."""
    with filled(image) as (source, env):
        dump = f"docker exec {env['HIVE_POSTGRES_CONTAINER']} pg_dump -Fc"
        dump += f" -U {env['POSTGRES_USER']} hive"

        def copy(*options: str) -> float:
            with directory() as workspace:
                argv = (HIVE_PG, "init", str(workspace), "--yes", "--image", image, *options)
                try:
                    took = seconds(lambda: quietly(*argv, "--port", str(free_port())))
                    if options:
                        return took
                    lines = (workspace / ".env").read_text().split()
                    own = dict(line.split("=", 1) for line in lines)
                    load = f"docker exec -i {own['HIVE_POSTGRES_CONTAINER']} pg_restore"
                    load += f" --no-owner -U {own['POSTGRES_USER']} -d hive"
                    load += f" && {HIVE_PG} psql {workspace} -c analyze"
                    return took + seconds(lambda: quietly("sh", "-c", f"{dump} | {load}"))
                finally:
                    remove(workspace)

        return paired(3, lambda: copy("--from", str(source)), copy)


def time_upgrade(image: str) -> tuple[float, float]:
    """Time `upgrade` to 18, and what a person would do: dump, move, `init`, restore."""
    newer = image.replace(":16", ":18")

    def ours() -> float:
        with filled(image) as (workspace, _):
            argv = (HIVE_PG, "upgrade", str(workspace), "--yes", "--image", newer)
            return seconds(lambda: quietly(*argv))

    def by_hand(workspace: Path) -> None:
        quietly(HIVE_PG, "backup", str(workspace), "-o", str(workspace / "x.dump"))
        quietly(HIVE_PG, "stop", str(workspace))
        place = workspace / "data" / "postgres" / "pgdata"
        place.rename(place.with_name("old"))
        quietly(HIVE_PG, "init", str(workspace), "--yes", "--image", newer)
        quietly(HIVE_PG, "restore", str(workspace), "--yes", str(workspace / "x.dump"))

    def theirs() -> float:
        with filled(image) as (workspace, _):
            return seconds(lambda: by_hand(workspace))

    return paired(3, ours, theirs)


def write_logs(container: str, megabytes: int) -> None:
    """Have PostgreSQL's container write so much to its log."""
    script = f"head -c {megabytes}M /dev/zero | tr '\\0' 'x' | fold -w 1000 > /proc/1/fd/2"
    quietly("docker", "exec", container, "sh", "-c", script)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="of the slow rows (default: 9)")
    parser.add_argument(
        "--short", action="store_true", help="few rounds, less data, no row that waits"
    )
    parser.add_argument("--image", default="hive-pg-test/pgvector:16-initdb")
    args = parser.parse_args()
    slow, fast = (3, 7) if args.short else (args.rounds, 41)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed module is compiled once
    image, python = args.image, sys.executable

    settle()
    print(f"{'':46} {'hive-pg':>11} {'against':>11} {'ratio':>8}  goal")
    row(
        "init | docker run, port asked every 2 ms",
        *paired(slow, lambda: time_init(image), lambda: time_docker_run(image)),
        1.25,
    )
    few = 1 if args.short else 3
    if not args.short:  # the health check of the original file comes after ten seconds
        row(
            "init | docker compose up --wait, original file",
            *paired(few, lambda: time_init(image), lambda: time_compose_wait(image)),
            0.25,
        )

    with directory() as workspace:
        init(workspace, image, free_port())
        try:
            env = dict(line.split("=", 1) for line in (workspace / ".env").read_text().split())
            name, user = env["HIVE_POSTGRES_CONTAINER"], env["POSTGRES_USER"]

            def floor(*command: str) -> Callable[[], float]:
                return lambda: seconds(
                    lambda: (
                        quietly("docker", "inspect", name),
                        quietly("docker", *command),
                        quietly(python, "-c", "pass"),
                    )
                )

            ready = ("exec", name, "pg_isready", "-h", "127.0.0.1", "-U", user)
            everything = "select * from pg_stat_database; select pg_sleep(1)"  # as `stats` does
            select = ("exec", name, "psql", "-U", user, "-d", "hive", "-c", everything)
            ways = (("", (HIVE_PG,)), ("file ", (python, FILE)))
            for command, floor_name, floor_command, goal, both, rounds in (
                (["start"], "pg_isready", ready, 1.3, True, fast),
                (["status"], "pg_isready", ready, 1.3, True, fast),
                (["check"], "pg_isready", ready, 1.3, True, fast),
                (["stats", "--json"], "psql, 1 s", select, 1.15, False, slow),
                (["list"], "ps", ("ps", "--all", "--quiet"), 2.0, False, fast),
            ):
                target = [] if command == ["list"] else [str(workspace)]
                for way, program in ways if both else ways[:1]:
                    row(
                        f"{way}{command[0]}, up | inspect + {floor_name} + python",
                        *paired(
                            rounds, process(*program, *command, *target), floor(*floor_command)
                        ),
                        goal,
                    )
            bare, version = process(python, "-c", "pass"), process(HIVE_PG, "--version")
            for what, ours, against, theirs, goal in (
                ("--version", version, "python -c pass", bare, 2.2),
                ("--help", process(HIVE_PG, "--help"), "python -c pass", bare, 2.2),
                ("url", process(HIVE_PG, "url", str(workspace)), "python -c pass", bare, 2.2),
                ("file --version", process(python, FILE, "--version"), "installed", version, 3.0),
            ):
                row(f"{what} | {against}", *paired(fast, ours, theirs), goal)

            ws, megabytes = str(workspace), 20 if args.short else 500
            rows = 8000 if args.short else 20000
            quietly(HIVE_PG, "psql", ws, "--", "-c", VECTORS.format(rows=rows))
            ours, theirs = paired(
                few, lambda: time_snapshot(workspace)[0], lambda: time_copy(name, user)
            )
            row(f"snapshot, {rows} vectors | pg_dump -Fc, pg_restore", ours, theirs, 0.25)
            ours = statistics.median(time_snapshot(workspace)[1] for _ in range(few))
            row("restore @NAME of these | the same", ours, theirs, 0.25)
            row(
                "run --fresh -- true | docker run, port asked",
                *paired(
                    few,
                    process(HIVE_PG, "run", ws, "--fresh", "--", "true"),
                    lambda: time_docker_run(image),
                ),
                0.5,
            )
            fill(workspace, megabytes)
            row(
                f"backup, {megabytes} MB | docker exec pg_dump -Fc > file",
                *paired(
                    few, lambda: time_backup(workspace), lambda: time_pg_dump(workspace, name, user)
                ),
                1.1,
            )
            size = 50 if args.short else 1024
            write_logs(name, size)
            for argv in (
                ["start", ws],
                ["status", ws],
                ["check", ws],
                ["url", ws],
                ["logs", ws, "-n", "all"],
                ["backup", ws],
            ):
                memory = peak_memory_mb(HIVE_PG, *argv)
                what = f"memory of {argv[0]}" + (f", {size} MB" if argv[0] == "logs" else "")
                print(
                    f"{what:<46} {memory:8.1f} MB {'':20} <= 40 MB"
                    f"  {'met' if memory <= 40 else 'MISSED'}",
                    flush=True,
                )
        finally:
            remove(workspace)
    if not args.short:
        row("push | pg_dump -Fc, pg_restore -1, analyze", *time_push(image), 1.15)
        row("init --from | init, dump, restore, analyze", *time_init_from(image), 1.15)
        row("upgrade | backup, init, restore", *time_upgrade(image), 1.15)


if __name__ == "__main__":
    main()
