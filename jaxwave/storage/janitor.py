"""Who owns the temporary directories of the disk tier, and who removes them.

A directory ``jaxwave-0123456789abcdef`` holds a file that its owner keeps locked as long as it lives, and the
wavefields. It goes

* with its history, or at the exit of the interpreter;
* when the process is killed or crashes: a tiny shell process, the watcher, knows the directories and removes them when
  the pipe from their owner closes. (A handler for SIGTERM would wait for the main thread to leave compiled code.)
* when the watcher was killed too: whoever next uses the same path sweeps away directories whose lock is free.

Only files of ours are removed, then the directory if it is empty: what else is called ``jaxwave-...`` is safe.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import secrets
import subprocess
import threading
import time

try:
    import fcntl
except ImportError:  # Windows: directories go at exit, without locks, watcher and sweeping
    fcntl = None

PREFIX = "jaxwave-"
DATA_NAME = "wavefields.h5"
LOCK_NAME = "owner.lock"
_UNLOCKED_NAME = "owner.new"  # before it is locked; a lock file that carries its name is locked or its owner is dead
_OUR_NAME = re.compile(PREFIX + "[0-9a-f]{16}")

SWEEP_INTERVAL = 10.0  # seconds; a history takes a directory of its own and should not list a crowded one every time
ORPHAN_AGE = 3600.0  # seconds after which a directory without a lock was left by a process killed while making it

# Reads "+ name" and "- name"; the names are free of blanks and wildcards, and printf %b decodes them.
_WATCHER = f"""
exec 3<&0
(
  left=
  while read -r sign name; do
    case $sign in
      +) left="$left $name" ;;
      -) rest=
         for other in $left; do [ "$other" = "$name" ] || rest="$rest $other"; done
         left=$rest ;;
    esac
  done
  for name in $left; do
    directory=$(printf %b "$name")
    rm -f "$directory/{DATA_NAME}" "$directory/{_UNLOCKED_NAME}" "$directory/{LOCK_NAME}"
    rmdir "$directory"
  done
) <&3 3<&- >/dev/null 2>&1 &
echo $!
"""


class Janitor:
    """This process's directories. One for the process: :data:`JANITOR`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owned: dict[str, int | None] = {}  # directory: descriptor that holds the lock
        self._swept: dict[str, float] = {}
        self._pipe: int | None = None
        self._prepared = False
        self._watchable = fcntl is not None
        self.watcher: int | None = None

    def claim(self, path: str) -> str:
        """Make a directory of our own under ``path``, which is swept before.

        Raises:
            OSError: If it cannot be made.
        """
        path = os.path.abspath(path)
        if time.monotonic() - self._swept.get(path, -SWEEP_INTERVAL) >= SWEEP_INTERVAL:
            self._swept[path] = time.monotonic()
            sweep(path)
        directory = fresh_name(path)
        with self._lock:
            self._prepare()
            self._owned[directory] = None
            self._tell("+", directory)  # before it is there, lest a kill in between leaves it
        try:
            os.mkdir(directory, 0o700)
            self._owned[directory] = _lock_new(directory)
        except OSError:
            self.remove(directory)
            raise
        return directory

    def remove(self, directory: str) -> bool:
        """Remove a claimed directory; whether it is gone. (An NFS server keeps an open file's directory.)"""
        if directory in self._owned and _remove(directory):
            with self._lock:
                descriptor = self._owned.pop(directory, None)
                self._tell("-", directory)
            if descriptor is not None:
                os.close(descriptor)
        return directory not in self._owned

    def _prepare(self) -> None:
        if not self._prepared:
            self._prepared = True
            atexit.register(self._leave)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self._disown)

    def _leave(self) -> None:
        for directory in list(self._owned):
            self.remove(directory)
        with self._lock:
            self._hang_up()

    def _disown(self) -> None:
        """In a forked child: nothing is its own, and it must not keep locks or the watcher's pipe open."""
        for descriptor in self._owned.values():
            if descriptor is not None:
                os.close(descriptor)
        self._lock = threading.Lock()
        self._owned = {}
        self._hang_up()

    def _hang_up(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
        self._pipe = self.watcher = None

    def _tell(self, sign: str, directory: str) -> None:
        """Tell the watcher. One that is gone is replaced, and learns of everything there is."""
        try:
            if self._pipe is not None:
                _send(self._pipe, sign, directory)
                return
        except BlockingIOError:  # it is stopped; to hang up would make it remove everything when it goes on
            return
        except OSError:
            self._hang_up()
        if self._watchable and self._owned:
            try:
                self._pipe, self.watcher = _start_watcher()
                for owned in self._owned:
                    _send(self._pipe, "+", owned)
            except (OSError, subprocess.SubprocessError):
                self._watchable = False  # the other ways remain


JANITOR = Janitor()


def fresh_name(path: str) -> str:
    """A name for a directory under ``path`` that nobody has."""
    return os.path.join(path, PREFIX + secrets.token_hex(8))


def sweep(path: str) -> None:
    """Remove the directories under ``path`` whose owners are dead."""
    if fcntl is None:
        return
    try:
        with os.scandir(path) as entries:
            found = [e.path for e in entries if _OUR_NAME.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for directory in found:
        with contextlib.suppress(OSError):  # someone else's, or swept by another process meanwhile
            _sweep_one(directory)


def _sweep_one(directory: str) -> None:
    name = os.path.join(directory, LOCK_NAME)
    try:
        descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        if time.time() - os.stat(directory).st_mtime > ORPHAN_AGE:
            _remove(directory)
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.stat(name), os.fstat(descriptor)):
            _remove(directory)
    finally:
        os.close(descriptor)


def _remove(directory: str) -> bool:
    for name in (DATA_NAME, _UNLOCKED_NAME, LOCK_NAME):
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(directory, name))
    with contextlib.suppress(OSError):
        os.rmdir(directory)
    return not os.path.lexists(directory)


def _lock_new(directory: str) -> int | None:
    """Lock the directory. The lock file gets its name when it is locked, so that no sweeper sees it in between."""
    if fcntl is None:
        return None
    unlocked = os.path.join(directory, _UNLOCKED_NAME)
    descriptor = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with contextlib.suppress(OSError):  # no locks on this file system, so no sweeper can take it for free either
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.rename(unlocked, os.path.join(directory, LOCK_NAME))
    return descriptor


def _encode(directory: str) -> str:
    """A path as letters, digits and octal escapes."""
    plain = rb"[A-Za-z0-9/_.-]"
    return "".join(
        chr(byte) if re.fullmatch(plain, bytes([byte])) else f"\\0{byte:03o}" for byte in os.fsencode(directory)
    )


def _send(pipe: int, sign: str, directory: str) -> None:
    os.write(pipe, f"{sign} {_encode(directory)}\n".encode())


def _start_watcher() -> tuple[int, int]:
    """The writing end of the watcher's pipe, and its process id.

    The shell that is started leaves the watcher in the background and ends: the watcher is no child of this process,
    which has neither to wait for it nor to explain it to a program that waits for all its children. A new session keeps
    Ctrl-C from it.
    """
    reading, writing = os.pipe()  # not inherited by other children
    try:
        started = subprocess.run(
            ["/bin/sh", "-c", _WATCHER], stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            cwd="/", start_new_session=True, check=True, timeout=10,
        )  # fmt: skip
        os.set_blocking(writing, False)
        return writing, int(started.stdout)
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
