"""Undirected graphs as lists of edges."""

Edge = tuple[str, str]


def neighbours(edges: list[Edge], node: str) -> list[str]:
    """The nodes next to a node, in alphabetical order."""
    found = set()
    for one, other in edges:
        if one == node:
            found.add(other)
        if other == node:
            found.add(one)
    return sorted(found)


def distance(edges: list[Edge], start: str, goal: str) -> int:
    """The least number of edges between two nodes, -1 where there is no way."""
    seen = {start}
    layer, steps = [start], 0
    while layer:
        if goal in layer:
            return steps
        following = []
        for node in layer:
            for other in neighbours(edges, node):
                if other not in seen:
                    seen.add(other)
                    following.append(other)
        layer, steps = following, steps + 1
    return -1


def components(edges: list[Edge]) -> list[list[str]]:
    """The connected parts, each in alphabetical order, the largest first."""
    left = {node for edge in edges for node in edge}
    parts = []
    while left:
        start = min(left)
        part = sorted(node for node in left if distance(edges, start, node) >= 0)
        left -= set(part)
        parts.append(part)
    return sorted(parts, key=lambda part: (-len(part), part))


def leaves(edges: list[Edge]) -> list[str]:
    """The nodes with one neighbour, in alphabetical order."""
    nodes = {node for edge in edges for node in edge}
    return sorted(node for node in nodes if len(neighbours(edges, node)) == 1)
