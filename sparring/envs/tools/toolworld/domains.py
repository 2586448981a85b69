"""Four kinds of small worlds: files, accounts, a calendar, and a warehouse.

In each, things have ids that must be looked up before they can be acted on; what is in the way shows only in the error
that acting runs into, and another tool clears it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from sparring.envs.tools.schema import Tool, ToolError, number, parameters, text
from sparring.envs.tools.toolworld.problem import Domain, Goal, World, call_of, named

# How often something is in the way of a goal.
_OBSTACLE_RATE = 0.5


def _ids(letter: str, count: int) -> tuple[str, ...]:
    return tuple(f"{letter}{one}" for one in range(1, count + 1))


def _drawn(rng: np.random.Generator, values: tuple[Any, ...], count: int) -> list[Any]:
    return [values[int(pick)] for pick in rng.choice(len(values), count, replace=False)]


def _thing(world: World, name: str) -> dict[str, Any]:
    if name not in world:
        raise ToolError(f"there is no {name}")
    return world[name]


class Files:
    """Files with a topic in folders; one that is locked can't be moved."""

    name = "files"
    ids: ClassVar[tuple[str, ...]] = _ids("f", 6)
    topics: ClassVar[tuple[str, ...]] = ("tax", "rent", "trip", "menu", "plan", "logo", "song", "poem")
    folders: ClassVar[tuple[str, ...]] = ("docs", "work", "home", "old")

    def __init__(self) -> None:
        file = text(*self.ids)
        self.tools = (
            Tool("search", "Find the file about a topic.", parameters(topic=text(*self.topics)), self._search),
            Tool("move", "Move a file.", parameters(file=file, folder=text(*self.folders)), self._move),
            Tool("unlock", "Unlock a file.", parameters(file=file), self._unlock),
            Tool("delete", "Delete a file for good.", parameters(file=file), self._delete),
        )

    @staticmethod
    def _search(world: World, topic: str) -> dict[str, Any]:
        return {"file": named(world, topic=topic)}

    @staticmethod
    def _move(world: World, file: str, folder: str) -> dict[str, Any]:
        if _thing(world, file)["locked"]:
            raise ToolError(f"{file} is locked")
        world[file]["folder"] = folder
        return {"moved": file}

    @staticmethod
    def _unlock(world: World, file: str) -> dict[str, Any]:
        _thing(world, file)["locked"] = False
        return {"unlocked": file}

    @staticmethod
    def _delete(world: World, file: str) -> dict[str, Any]:
        _thing(world, file)
        del world[file]
        return {"deleted": file}

    def draw(self, rng: np.random.Generator, goals: int) -> tuple[World, list[Goal]]:
        """Six files; each goal moves one of them."""
        topics = _drawn(rng, self.topics, len(self.ids))
        world: World = {
            file: {"topic": topic, "folder": _drawn(rng, self.folders, 1)[0], "locked": False}
            for file, topic in zip(self.ids, topics, strict=True)
        }
        return world, [self._goal(rng, world, file) for file in _drawn(rng, self.ids, goals)]

    def _goal(self, rng: np.random.Generator, world: World, file: str) -> Goal:
        here = world[file]
        folder = _drawn(rng, tuple(one for one in self.folders if one != here["folder"]), 1)[0]
        look, move = call_of("search", topic=here["topic"]), call_of("move", file=file, folder=folder)
        here["locked"] = bool(rng.random() < _OBSTACLE_RATE)
        plan = (look, move, call_of("unlock", file=file), move) if here["locked"] else (look, move)
        return Goal(f"Move the file about {here['topic']} to {folder}.", plan)


class Accounts:
    """Accounts with an owner and a balance; one that is frozen can't pay."""

    name = "accounts"
    ids: ClassVar[tuple[str, ...]] = _ids("a", 6)
    owners: ClassVar[tuple[str, ...]] = ("ann", "ben", "cleo", "dan", "eva", "finn", "gus", "hana")
    amounts: ClassVar[tuple[int, ...]] = (5, 10, 20)

    def __init__(self) -> None:
        account = text(*self.ids)
        amount = number(*self.amounts)
        pays = parameters(source=account, target=account, amount=amount)
        self.tools = (
            Tool("account", "Find a person's account.", parameters(owner=text(*self.owners)), self._account),
            Tool("pay", "Pay from one account to another.", pays, self._pay),
            Tool("release", "Release a frozen account.", parameters(account=account), self._release),
            Tool("deposit", "Put money into an account.", parameters(account=account, amount=amount), self._deposit),
        )

    @staticmethod
    def _account(world: World, owner: str) -> dict[str, Any]:
        return {"account": named(world, owner=owner)}

    @staticmethod
    def _pay(world: World, source: str, target: str, amount: int) -> dict[str, Any]:
        if source == target:
            raise ToolError("source and target are the same")
        if _thing(world, source)["frozen"]:
            raise ToolError(f"{source} is frozen")
        if world[source]["balance"] < amount:
            raise ToolError(f"{source} has only {world[source]['balance']}")
        _thing(world, target)["balance"] += amount
        world[source]["balance"] -= amount
        return {"paid": amount}

    @staticmethod
    def _release(world: World, account: str) -> dict[str, Any]:
        _thing(world, account)["frozen"] = False
        return {"released": account}

    @staticmethod
    def _deposit(world: World, account: str, amount: int) -> dict[str, Any]:
        _thing(world, account)["balance"] += amount
        return {"balance": world[account]["balance"]}

    def draw(self, rng: np.random.Generator, goals: int) -> tuple[World, list[Goal]]:
        """Six accounts; each goal is a payment between two of them."""
        owners = _drawn(rng, self.owners, len(self.ids))
        world: World = {
            account: {"owner": owner, "balance": 20 + 5 * int(rng.integers(5)), "frozen": False}
            for account, owner in zip(self.ids, owners, strict=True)
        }
        chosen = _drawn(rng, self.ids, 2 * goals)
        return world, [self._goal(rng, world, *chosen[2 * one : 2 * one + 2]) for one in range(goals)]

    def _goal(self, rng: np.random.Generator, world: World, source: str, target: str) -> Goal:
        amount = _drawn(rng, self.amounts, 1)[0]
        payer, payee = world[source]["owner"], world[target]["owner"]
        looks = (call_of("account", owner=payer), call_of("account", owner=payee))
        pay = call_of("pay", source=source, target=target, amount=amount)
        world[source]["frozen"] = bool(rng.random() < _OBSTACLE_RATE)
        plan = (pay, call_of("release", account=source), pay) if world[source]["frozen"] else (pay,)
        return Goal(f"Pay {amount} from {payer} to {payee}.", (*looks, *plan))


class Calendar:
    """Events with a title at times; a time that is taken must be cleared first."""

    name = "calendar"
    ids: ClassVar[tuple[str, ...]] = _ids("e", 6)
    titles: ClassVar[tuple[str, ...]] = ("lunch", "yoga", "demo", "call", "exam", "game", "talk", "walk")
    times: ClassVar[tuple[str, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "eve")

    def __init__(self) -> None:
        event = text(*self.ids)
        time = text(*self.times)
        self.tools = (
            Tool("event", "Find an event by its title.", parameters(title=text(*self.titles)), self._event),
            Tool("shift", "Shift an event to another time.", parameters(event=event, time=time), self._shift),
            Tool("cancel", "Cancel an event.", parameters(event=event), self._cancel),
            Tool("remind", "Set a reminder for an event.", parameters(event=event), self._remind),
        )

    @staticmethod
    def _event(world: World, title: str) -> dict[str, Any]:
        return {"event": named(world, title=title)}

    @staticmethod
    def _shift(world: World, event: str, time: str) -> dict[str, Any]:
        _thing(world, event)
        taken = [name for name, one in world.items() if one["time"] == time and name != event]
        if taken:
            raise ToolError(f"{taken[0]} is then")
        world[event]["time"] = time
        return {"shifted": event}

    @staticmethod
    def _cancel(world: World, event: str) -> dict[str, Any]:
        _thing(world, event)
        del world[event]
        return {"cancelled": event}

    @staticmethod
    def _remind(world: World, event: str) -> dict[str, Any]:
        _thing(world, event)["reminder"] = True
        return {"reminder": event}

    def draw(self, rng: np.random.Generator, goals: int) -> tuple[World, list[Goal]]:
        """Six events and two free times; each goal shifts an event, and cancels what is then."""
        titles = _drawn(rng, self.titles, len(self.ids))
        times = _drawn(rng, self.times, len(self.times))
        world: World = {
            event: {"title": title, "time": time, "reminder": False}
            for event, title, time in zip(self.ids, titles, times, strict=False)
        }
        free = times[len(self.ids) :]
        chosen = _drawn(rng, self.ids, 2 * goals)
        found = []
        for moved, other in zip(chosen[::2], chosen[1::2], strict=True):
            taken = not free or rng.random() < _OBSTACLE_RATE
            found.append(self._goal(world, moved, world[other]["time"] if taken else free.pop(), other, taken))
        return world, found

    @staticmethod
    def _goal(world: World, moved: str, time: str, other: str, taken: bool) -> Goal:
        look = call_of("event", title=world[moved]["title"])
        shift = call_of("shift", event=moved, time=time)
        plan = (look, shift, call_of("cancel", event=other), shift) if taken else (look, shift)
        return Goal(f"Shift {world[moved]['title']} to {time}, whatever is then.", plan)


class Warehouse:
    """Goods on shelves; what has run out must be ordered before it can be sent."""

    name = "warehouse"
    ids: ClassVar[tuple[str, ...]] = _ids("g", 6)
    kinds: ClassVar[tuple[str, ...]] = ("lamp", "desk", "sofa", "bowl", "vase", "drum", "tent", "kite")
    cities: ClassVar[tuple[str, ...]] = ("rome", "oslo", "lima", "cairo")

    def __init__(self) -> None:
        item = text(*self.ids)
        self.tools = (
            Tool("find", "Find the number of an item.", parameters(kind=text(*self.kinds)), self._find),
            Tool("send", "Send one to a city.", parameters(item=item, city=text(*self.cities)), self._send),
            Tool("order", "Order one more of an item.", parameters(item=item), self._order),
            Tool("scrap", "Throw all of an item away.", parameters(item=item), self._scrap),
        )

    @staticmethod
    def _find(world: World, kind: str) -> dict[str, Any]:
        return {"item": named(world, kind=kind)}

    @staticmethod
    def _send(world: World, item: str, city: str) -> dict[str, Any]:
        if not _thing(world, item)["stock"]:
            raise ToolError(f"{item} has run out")
        world[item]["stock"] -= 1
        world[item]["sent"] = [*world[item]["sent"], city]
        return {"sent": item}

    @staticmethod
    def _order(world: World, item: str) -> dict[str, Any]:
        _thing(world, item)["stock"] += 1
        return {"ordered": item}

    @staticmethod
    def _scrap(world: World, item: str) -> dict[str, Any]:
        _thing(world, item)["stock"] = 0
        return {"scrapped": item}

    def draw(self, rng: np.random.Generator, goals: int) -> tuple[World, list[Goal]]:
        """Six kinds of goods; each goal sends one of them."""
        kinds = _drawn(rng, self.kinds, len(self.ids))
        world: World = {
            item: {"kind": kind, "stock": int(rng.integers(1, 4)), "sent": []}
            for item, kind in zip(self.ids, kinds, strict=True)
        }
        return world, [self._goal(rng, world, item) for item in _drawn(rng, self.ids, goals)]

    def _goal(self, rng: np.random.Generator, world: World, item: str) -> Goal:
        city, kind = _drawn(rng, self.cities, 1)[0], world[item]["kind"]
        look, send = call_of("find", kind=kind), call_of("send", item=item, city=city)
        if rng.random() < _OBSTACLE_RATE:
            world[item]["stock"] = 0
            return Goal(f"Send the {kind} to {city}.", (look, send, call_of("order", item=item), send))
        return Goal(f"Send the {kind} to {city}.", (look, send))


def _weather(world: World, city: str) -> dict[str, Any]:
    return {"sky": "clear" if len(city) % 2 else "grey"}


def _rate(world: World, currency: str) -> dict[str, Any]:
    return {"rate": {"euro": 1.1, "yen": 0.01, "peso": 0.05}[currency]}


def _joke(world: World) -> dict[str, Any]:
    return {"joke": "why did the array cross the road"}


def _note(world: World, word: str) -> dict[str, Any]:
    return {"noted": word}


DISTRACTORS = (
    Tool("weather", "Tell the weather of a city.", parameters(city=text(*Warehouse.cities)), _weather),
    Tool("rate", "Tell the rate of a currency.", parameters(currency=text("euro", "yen", "peso")), _rate),
    Tool("joke", "Tell a joke.", parameters(), _joke),
    Tool("note", "Note a word.", parameters(word=text("yes", "no", "later")), _note),
)

DOMAINS: dict[str, Domain] = {one.name: one for one in (Files(), Accounts(), Calendar(), Warehouse())}
