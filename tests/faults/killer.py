"""Run hive-pg and send it a signal at one of its steps: `killer.py KILL|INT STEP COMMAND ...`.

A step is the moment before it changes something itself (a file, a directory, a lock) or starts a
program, and the one when a program has just been started. Where it does not come to STEP, hive-pg
ends as it does, and lists the steps that it took.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys

import hive_pg

CHANGES = {
    f"os.{name}" for name in "chmod chown exec link mkdir remove rename rmdir symlink".split()
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Killer:
    """Names the steps, and sends its own process the signal at one of them."""

    def __init__(self, number: int, wanted: str) -> None:
        self.number, self.wanted = number, wanted
        self.steps: list[str] = []
        self.previous = ""

    def step(self, what: str) -> None:
        """Take a step, perhaps the last."""
        if what == self.previous:  # it still waits for a lock
            return
        self.previous = what
        again = sum(step.split(" #")[0] == what for step in self.steps)
        self.steps.append(f"{what} #{again + 1}" if again else what)
        if self.steps[-1] == self.wanted:
            print(f"signal {self.wanted}", file=sys.stderr, flush=True)
            os.kill(os.getpid(), self.number)

    def audit(self, event: str, arguments: tuple) -> None:
        """Take a step where Python is about to change something."""
        if event == "subprocess.Popen":
            self.step(f"before {program(arguments[1])}")
        elif event == "fcntl.flock":
            action = "unlock" if arguments[1] == fcntl.LOCK_UN else "lock"
            path = os.readlink(f"/proc/self/fd/{arguments[0]}")
            self.step(f"before {action} {os.path.basename(path)}")
        elif event in CHANGES or (event == "open" and arguments[2] & WRITING):
            path = arguments[0]
            path = str(path) if isinstance(path, int) else os.fsdecode(path)
            own = path == os.devnull or (event == "open" and path.isdigit())  # its own pipes
            if not own and not path.endswith(".lock"):  # which it takes and lets go as one
                self.step(f"before {event} {os.path.basename(path)}")


def program(argv: list[str]) -> str:
    """Name a program by its first words, which hold no secret."""
    return " ".join(word for word in argv[:3] if "/" not in word)


def main() -> int:
    """Run hive-pg up to the step."""
    killer = Killer(getattr(signal, f"SIG{sys.argv.pop(1)}"), sys.argv.pop(1))

    def announce(name: str) -> None:
        wait = getattr(hive_pg.Process, name)

        def wait_later(process: hive_pg.Process, *args: object, **options: object) -> object:
            killer.step(f"during {program(process.process.args)}")
            return wait(process, *args, **options)

        setattr(hive_pg.Process, name, wait_later)

    announce("finish")
    announce("watch")
    sys.dont_write_bytecode = True
    sys.addaudithook(killer.audit)
    exit_code = hive_pg.main()
    print("steps", *killer.steps, file=sys.stderr, sep="\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
