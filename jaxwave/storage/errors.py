"""The errors that storage raises."""

from __future__ import annotations


class StorageError(OSError):
    """Stored wavefields could not be kept or given back.

    The message says what was asked, what stood against it (with the path, where there is one), and the remedy.
    """


class StoragePathError(StorageError, ValueError):
    """``storage_path`` is no directory in which files can be made: a wrong argument, told before anything runs."""
