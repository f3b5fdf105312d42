"""What rows are judged by while some definitions are broken: the sound ones; what belongs to the others waits.

Events need no experiment, and exposures need only their own. A row that names an unknown experiment or variant may
belong to a broken file: it must be neither refused nor dropped, so its whole file stays where it lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import Settings
from pipelines.definitions.loader import load_sound
from pipelines.definitions.mappings.catalog import find_sound_mappings
from pipelines.definitions.mappings.mapping import Mapping as Definition
from pipelines.definitions.problems import Problem
from pipelines.ingest.contract import Contract, contract_of

UNKNOWN = "unknown_"
"""How the codes of unknown experiments and variants begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the files of an inbox are judged by.

    Attributes
    ----------
    contract, mappings
        Of the definitions that are sound.
    broken
        Whether others are not: rows with unknown names wait then, instead of being refused.
    unreadable
        Names of mappings that cannot be used: files in folders of these names wait.
    problems
        What is wrong with the definitions.
    """

    contract: Contract
    mappings: Mapping[str, Definition] = field(default_factory=dict)
    broken: bool = False
    unreadable: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()

    def contract_for(self, table: str) -> Contract:
        """The contract of one kind of rows.

        The earliest moment of events and identities is that of the first experiment, and it may be a broken one's: no
        row is refused for its age meanwhile.
        """
        return replace(self.contract, starts={}) if self.broken and table in {"events", "identities"} else self.contract


def rules_of(root: Path, settings: Settings) -> Rules:
    """The rules of a workspace, as far as its definitions are sound."""
    definitions, problems = load_sound(root)
    mappings, mapping_problems = find_sound_mappings(root)
    return Rules(
        contract=contract_of(definitions, settings),
        mappings={name: found.mapping for name, found in mappings.items()},
        broken=bool(problems),
        unreadable=frozenset(Path(each.file).stem for each in mapping_problems),
        problems=(*problems, *mapping_problems),
    )


def has_unknown(chunk: pa.Table) -> bool:
    """Whether a row was refused because its experiment or variant is not known."""
    return bool(pc.any(pc.starts_with(chunk["reason"], UNKNOWN)).as_py())
