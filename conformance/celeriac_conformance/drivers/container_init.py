"""First process of a container: runs one program, passes signals on, and writes down how it ended.

Called as ``python container_init.py STATE LOG COMMAND...``. A program that is a container's first process itself has
no default action for any signal and inherits every orphan; here it is an ordinary process, as on any machine.

* STATE receives a line ``pid N`` when the program starts and ``status N`` when it ended (negative: by that signal).
* LOG receives its standard error. Its standard input and output are the container's.

Ends when nothing of the program is left. Python 3.7, standard library only.
"""

import os
import signal
import sys

_KEPT = {signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP}


def _append(path: str, line: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line.encode() + b"\n")
    finally:
        os.close(handle)


def _start(command: list[str], log: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        errors = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(errors, 2)
        os.execvp(command[0], command)  # noqa: S606 - no shell is meant
    except OSError as error:
        os.write(2, f"{command[0]}: {error}\n".encode())
    os._exit(127)


def _reap(program: int, state: str) -> bool:
    """Take in whatever ended; say whether anything still runs."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        if pid == program:
            killed = os.WIFSIGNALED(status)
            number = -os.WTERMSIG(status) if killed else os.WEXITSTATUS(status)
            _append(state, f"status {number}")


def main(state: str, log: str, *command: str) -> None:
    """Run `command` until nothing of it is left."""
    signals = set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    program = _start(list(command), log)
    _append(state, f"pid {program}")
    while _reap(program, state):
        number = signal.sigwait(signals)
        if number not in _KEPT:
            try:
                os.kill(program, number)
            except ProcessLookupError:
                # The program is gone and only its children are left: the signal is for them now. -1 is everybody in
                # this container, and far more where somebody tries this out elsewhere.
                if os.getpid() == 1:
                    os.kill(-1, number)


if __name__ == "__main__":
    main(*sys.argv[1:])
