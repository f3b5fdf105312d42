"""Many visitors without a browser: sessions over WebSockets that ask as Streamlit's page does and wait for the answer.

    python -P tests/bench/visitors/sessions.py http://127.0.0.1:8501 --sessions 20 --seconds 40 NAME...

Prints JSON: milliseconds from the click until the message with the new number, by kind of click; visits; errors.
`app.py` runs it. NAME are experiments to open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

PATIENCE = 60.0
HALF_LIVES = ("3 months", "6 months", "1 year", "No decay")
KINDS = ("choose", "open", "choose", "open", "tour")
# The advisor's first visit is a simulation of seconds: no page that is read.
TOUR = ("experiments", "owner", "metrics", "sample-size", "releases", "flags", "reports", "data-quality")
TROUBLES = ("Something went wrong", "cannot be shown", "There is no such", "has just been removed")


@dataclass(kw_only=True)
class Found:
    """What all sessions saw."""

    choose: list[float] = field(default_factory=list)
    open: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    tour: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Session:
    """One visitor."""

    def __init__(self, socket: ClientConnection, found: Found) -> None:
        self.socket, self.found = socket, found
        self.page, self.control, self.shown = "", "", ""

    async def ask(self, page: str, query: str = "", *, chosen: str | None = None, panel: str = "") -> float:
        """Run a page's script; milliseconds until its panel (or, without one, its end) has arrived."""
        asked = BackMsg()
        asked.rerun_script.query_string = query
        if page == self.page.partition("?")[0] and chosen is not None:
            state = asked.rerun_script.widget_states.widgets.add()
            state.id = self.control
            state.string_array_value.data.append(chosen)
        asked.rerun_script.page_name = page
        started, arrived, self.shown = time.perf_counter(), None, ""
        await self.socket.send(asked.SerializeToString())
        while True:
            told = ForwardMsg()
            told.ParseFromString(await asyncio.wait_for(self.socket.recv(), PATIENCE))
            kind = told.WhichOneof("type")
            if kind == "delta":
                name = self.see(page, told.delta.new_element)
                if arrived is None and name is not None and name.endswith(f"-{panel}"):
                    arrived = time.perf_counter()
            elif kind == "script_finished":
                break
        self.page = f"{page}?{query}"
        if panel and arrived is None:
            self.found.errors.append(f"{page} {query}: no {panel}")
        return 1000 * ((arrived if panel and arrived else time.perf_counter()) - started)

    def see(self, page: str, element: Element) -> str | None:
        """Keep what a panel says, look for trouble, and return the panel's id."""
        kind = element.WhichOneof("type")
        if kind == "exception":
            self.found.errors.append(f"{page}: {element.exception.message}")
        if kind == "button_group":
            self.control = element.button_group.id
        if kind != "bidi_component":
            return None
        html = element.bidi_component.json
        self.shown += html
        self.found.errors.extend(f"{page}: {each}" for each in TROUBLES if each in html)
        return str(element.bidi_component.id)

    async def choose(self) -> None:
        """Another half-life: the projected amounts must be others."""
        if self.page != "manager?":
            await self.ask("manager", panel="manager")
            self.chosen = "6 months"
        before, self.chosen = self.shown, random.choice([each for each in HALF_LIVES if each != self.chosen])
        self.found.choose.append(await self.ask("manager", chosen=self.chosen, panel="manager"))
        if self.shown == before:
            self.found.errors.append(f"manager: {self.chosen} changed nothing")

    async def open(self, name: str, think: float) -> None:
        """An experiment, and back to the list."""
        self.found.open.append(await self.ask("experiment", f"experiment={name}", panel="scorecard"))
        if f'data-experiment=\\"{name}\\"' not in self.shown:
            self.found.errors.append(f"experiment: {name} was not shown")
        await asyncio.sleep(think)
        self.found.back.append(await self.ask("experiments", panel="list"))


async def visit(base: str, number: int, options: argparse.Namespace, found: Found) -> None:
    """One visitor's clicks until the time is over."""
    kind, last = KINDS[number % len(KINDS)], time.monotonic() + options.seconds
    address = base.replace("http://", "ws://") + "/_stcore/stream"
    async with connect(address, subprotocols=["streamlit"], max_size=None, origin=base) as socket:  # type: ignore[arg-type]
        session, turn = Session(socket, found), number
        await asyncio.sleep(random.random() * options.think)
        while time.monotonic() < last:
            turn += 1
            if kind == "choose":
                await session.choose()
            elif kind == "open":
                await session.open(options.experiments[turn % len(options.experiments)], options.think / 2)
            else:
                found.tour.append(await session.ask(TOUR[turn % len(TOUR)]))
            await asyncio.sleep(options.think * (0.5 + random.random()))


async def visits(base: str, options: argparse.Namespace) -> dict[str, Any]:
    found = Found()
    ended = await asyncio.gather(
        *(visit(base, number, options, found) for number in range(options.sessions)), return_exceptions=True
    )
    found.errors.extend(f"a session ended: {each!r}" for each in ended if each is not None)
    return vars(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("experiments", nargs="+")
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--think", type=float, default=2.0, help="seconds between two clicks, on average")
    options = parser.parse_args()
    random.seed(1)
    print(json.dumps(asyncio.run(visits(options.base, options))))


if __name__ == "__main__":
    main()
