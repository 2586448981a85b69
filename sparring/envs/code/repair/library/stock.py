"""A warehouse: how many there are of each thing."""


def take(stock: dict[str, int], name: str, count: int) -> dict[str, int]:
    """What is left after taking some; nothing is taken where there are too few, and what is used up vanishes."""
    left = dict(stock)
    have = left.get(name, 0)
    if count <= 0 or count > have:
        return left
    left[name] = have - count
    if left[name] == 0:
        del left[name]
    return left


def low(stock: dict[str, int], least: int) -> list[str]:
    """What there is less of than `least`, the scarcest first."""
    scarce = [name for name, count in stock.items() if count < least]
    return sorted(scarce, key=lambda name: (stock[name], name))


def order(stock: dict[str, int], wanted: dict[str, int], pack: int) -> dict[str, int]:
    """How many packs of `pack` to order of each thing, so that there are as many as wanted."""
    packs = {}
    for name, count in wanted.items():
        missing = count - stock.get(name, 0)
        if missing > 0:
            packs[name] = (missing + pack - 1) // pack
    return packs


def boxes(sizes: list[int], room: int) -> int:
    """How many boxes of a size things need that are packed in order, each box closed when the next does not fit."""
    count, used = 0, room
    for size in sizes:
        if used + size > room:
            count, used = count + 1, 0
        used += size
    return count
