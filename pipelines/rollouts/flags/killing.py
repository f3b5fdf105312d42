"""Switching one flag off in the published file: from the file alone, so that nothing else has to work."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pipelines.rollouts.flags.document import FlagFile, FlagFileError, read_flag_file
from pipelines.rollouts.flags.publish import FILE, Publication, replace_file, writing_flags

KILLED = "killed"


def kill_flag(folder: Path, key: str, *, by: str, at: datetime) -> Publication | None:
    """Serve a flag's `off` to everybody; None where no such flag is published.

    Parameters
    ----------
    folder
        The workspace's `flags/`.
    by, at
        Who and when (aware), for the flag's metadata.

    Notes
    -----
    Neither the definitions, the databases nor the plans of other flags are read: what is broken there cannot keep a
    flag on. A flag that is killed already is left as it is. Publishing plans later leaves it killed, as long as they
    are of the same run.
    """
    with writing_flags(folder):
        path = folder / FILE
        if not path.exists():
            return None
        file = read_flag_file(path.read_text(encoding="utf-8"))
        flag = file.flags.get(key)
        if flag is None:
            return None
        if flag.metadata.get(KILLED) is True:
            return Publication(revision=int(file.metadata.get("revision", 0)), path=path, changed=False)
        metadata = {**flag.metadata, KILLED: True, "coverage": 0.0, "killed_by": by, "killed_at": at.isoformat()}
        off = flag.model_copy(
            update={"state": "ENABLED", "targeting": None, "default_variant": "off", "metadata": metadata}
        )
        return replace_file(folder, FlagFile(flags={**file.flags, key: off}, metadata=file.metadata))


def flag_of(folder: Path, rollout: str) -> str | None:
    """The key of a rollout's flag in the published file; None where it is not there, or the file is none of ours."""
    try:
        file = read_flag_file((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, FlagFileError):
        return None
    return next((key for key, flag in file.flags.items() if flag.metadata.get("experiment") == rollout), None)


def killed_run(file: FlagFile | None, key: str) -> int | None:
    """The run whose flag was switched off in a published file; None where it is on, or not there."""
    flag = None if file is None else file.flags.get(key)
    if flag is None or flag.metadata.get(KILLED) is not True:
        return None
    run = flag.metadata.get("run")
    return int(run) if isinstance(run, int | float) else 0
