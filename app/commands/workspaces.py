"""`rampwise init`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from app.commands.session import WRONG_USAGE, emit, say


def init(
    path: Annotated[Path, typer.Argument(help="Folder to make the workspace in; this one if none.")] = Path(),
) -> None:
    """Make a workspace with commented example definitions. Overwrites nothing."""
    import pipelines.definitions
    from pipelines.config import SETTINGS_FILE, Workspace, create_workspace
    from pipelines.definitions.schemas import write_schemas

    root = path.expanduser().resolve()
    examples = Path(pipelines.definitions.__file__).parent / "examples"
    copies = {root / file.relative_to(examples): file for file in sorted(examples.rglob("*.toml"))}
    made = [root / SETTINGS_FILE, Workspace(root=root).warehouse_path.parent, *copies]
    taken = [root] if root.is_file() else [target for target in made if target.exists()]
    if taken:
        say(f"Error: {taken[0]} exists already; nothing was changed. Name a new folder, or edit what is there.")
        raise typer.Exit(WRONG_USAGE)
    ignored = (root / ".gitignore").exists()
    workspace = create_workspace(root)
    write_schemas(workspace.schemas_dir)
    for target, source in copies.items():
        target.write_bytes(source.read_bytes())
    if ignored:
        say("Note: .gitignore was there already; data/, inbox/, landed/ and outbox/ do not belong in git.")
    here = "" if root == Path.cwd().resolve() else f"cd {quote(str(path))}, "
    emit(f"Workspace made in {root} with {len(copies)} example definitions.")
    emit(f"Next: {here}edit metrics/ and experiments/, then `rampwise validate` and `rampwise ingest exposures FILE`.")
