"""Use one manager from four threads, in a process with 2,000 open files: `load.py DIRECTORY`.

Run with `-W error -X dev`; a deadlock ends it with the stack of every thread.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import sys
import threading
import traceback

import hive_pg

THREADS, ROUNDS, FILES, LIMIT_S = 4, 2, 2000, 300


def use(manager: hive_pg.PostgreSQLManager) -> None:
    """Ask what can be asked of a database that serves, and make sure of each answer."""
    assert manager.start_container() is False
    assert manager.check_container_status().readiness is hive_pg.Readiness.ACCEPTING
    assert manager.validate_container_health()
    result = manager.validate_postgres_integration()
    assert result.healthy, result
    assert manager.read_statistics()["container"] == manager.settings.container
    assert os.path.getsize(manager.backup()) > 500


def main() -> int:
    """Run the threads; return how many of them failed."""
    faulthandler.dump_traceback_later(LIMIT_S, exit=True)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(FILES + 500, 1024), hard))
    manager = hive_pg.PostgreSQLManager(sys.argv[1], console=hive_pg.Console(quiet=True))
    failed, together = [], threading.Barrier(THREADS)

    def work() -> None:
        try:
            for number in range(ROUNDS):
                together.wait()
                if len(failed) == 0:
                    use(manager)
                if number == 0 and together.wait() == 0:
                    manager.rotate_password()  # and the second round begins meanwhile
        except BaseException:
            failed.append(traceback.format_exc())
            together.abort()

    files = [open(os.devnull) for _ in range(FILES)]  # noqa: SIM115
    before = len(os.listdir("/dev/fd"))
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(os.listdir("/dev/fd")) == before, "a descriptor is left"
    for file in files:
        file.close()
    print(*failed, sep="\n")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
