"""`rampwise collect`, writing down what it has brought onto the disk; and variants of it that are broken on purpose.

A killed process leaves its page cache to the system, so a kill alone never loses a write. The record tells the harness
what a power failure would have left: sizes at the last sync of each file, names at the last sync of each folder. A
record is one line, written after the real sync and before the collector goes on.

Usage: recording_collector.py RECORD VARIANT ARGUMENTS_OF_RAMPWISE...
"""

import json
import os
import stat
import sys

from pipelines.collection import segments


def record_syncs(record: str) -> None:
    descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    real_sync, real_data_sync = os.fsync, os.fdatasync

    def note(synced: int) -> None:
        found = os.fstat(synced)
        if stat.S_ISDIR(found.st_mode):
            names = {name: os.stat(name, dir_fd=synced).st_ino for name in os.listdir(synced)}
            entry = {"folder": found.st_ino, "names": names}
        else:
            entry = {"file": found.st_ino, "size": found.st_size}
        os.write(descriptor, json.dumps(entry).encode() + b"\n")

    def fsync(synced: int) -> None:
        real_sync(synced)
        note(synced)

    def fdatasync(synced: int) -> None:
        real_data_sync(synced)
        note(synced)

    os.fsync, os.fdatasync = fsync, fdatasync


def nothing(*_: object) -> None:
    """What a program does that believes `write` is enough."""


if __name__ == "__main__":
    record, variant, *arguments = sys.argv[1:]
    record_syncs(record)
    if variant == "no_data_sync":
        segments.sync_data = nothing
    elif variant == "no_folder_sync":
        segments.sync_folder = nothing
    elif variant != "sound":
        sys.exit(f"no variant {variant}")
    sys.argv = ["rampwise", *arguments]
    from app.cli import main

    main()
