"""Parent of the embedded server, run as `python -I guard.py UID GID FDS COMMAND...`; standard library only.

It ends the server when its standard input ends, which happens however the host goes: the write end of that pipe
belongs to the host alone. UID and GID are `-` where the account stays; FDS are descriptors that the server inherits.
"""

import os
import select
import signal
import subprocess
import sys

FAST_SHUTDOWN_SECONDS = 20.0
IMMEDIATE_SHUTDOWN_SECONDS = 5.0


def main(arguments: list[str]) -> int:
    """Run the command until it ends or the host is gone; returns its exit status."""
    uid, gid, fds, *command = arguments
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, heard)
    server = start(uid, gid, fds, command)
    wait_for_reason_to_stop(server, woken)
    return stop(server)


def heard(number: int, frame: object) -> None:
    """Nothing to do: the number comes through the wake-up pipe."""


def start(uid: str, gid: str, fds: str, command: list[str]) -> "subprocess.Popen[bytes]":
    stays = uid == "-"
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        pass_fds=[int(fd) for fd in fds.split(",") if fd],
        start_new_session=True,
        user=None if stays else int(uid),
        group=None if stays else int(gid),
        extra_groups=None if stays else [],
    )


def wait_for_reason_to_stop(server: "subprocess.Popen[bytes]", woken: int) -> None:
    stdin = sys.stdin.fileno()
    while server.poll() is None:
        ready, _, _ = select.select([stdin, woken], [], [])
        if stdin in ready and not os.read(stdin, 1024):
            return
        if woken in ready and set(os.read(woken, 1024)) - {signal.SIGCHLD}:
            return


def stop(server: "subprocess.Popen[bytes]") -> int:
    """SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one: nothing that was committed is lost by either."""
    for number, seconds in (
        (signal.SIGINT, FAST_SHUTDOWN_SECONDS),
        (signal.SIGQUIT, IMMEDIATE_SHUTDOWN_SECONDS),
        (signal.SIGKILL, IMMEDIATE_SHUTDOWN_SECONDS),
    ):
        if server.poll() is None:
            server.send_signal(number)
        try:
            return server.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    return 1


if __name__ == "__main__":
    sys.exit(abs(main(sys.argv[1:])))
