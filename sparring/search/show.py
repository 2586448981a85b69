"""A search tree as text, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text
from rich.tree import Tree as Branch

from sparring.play import printable
from sparring.search.rules import Rules
from sparring.search.tree import Edge, Node, Tree

_INDENT = 4
"""Columns by which a turn is indented."""
_ROOM = 60
"""Columns that a line has at least behind that."""


def render(
    tree: Tree, rules: Rules | None = None, *, max_depth: int | None = None, width: int = 120, colours: bool = False
) -> str:
    """Draw a tree: an action a line, with its statistics; the best ending's way is marked by a star.

    Args:
        rules: say what the best ending is; by default those of MCTS.
        max_depth: turns below the root that are shown, at least one; None for all. Actions never visited are counted.
        width: characters a line; more where a tree is so deep that too few of them are left.
        colours: with escape codes for a terminal.
    """
    best = tree.best_ending((rules or Rules()).outcome)
    deepest = min(max(node.depth for node in tree.nodes), max_depth if max_depth is not None else len(tree.nodes))
    width = max(width, _INDENT * (deepest + 1) + _ROOM)
    console = Console(width=width, force_terminal=colours, no_color=not colours, highlight=False, soft_wrap=False)
    with console.capture() as captured:
        console.print(_branches(tree, {id(edge) for edge in best.path} if best else set(), max_depth))
        console.print(_summary(tree), soft_wrap=True)
    return captured.get()


def _branches(tree: Tree, marked: set[int], max_depth: int | None) -> Branch:
    root = Branch(Text(_short(tree.root.moment.instruction or tree.root.moment.task, 100), style="bold"))
    waiting = [(tree.root, root)]
    while waiting:
        node, branch = waiting.pop()
        for edge in sorted(node.edges, key=lambda one: (-one.visits, -one.mean)):
            if not edge.visits and edge.error is None:
                continue
            below = branch.add(_line(edge, is_marked=id(edge) in marked))
            if edge.node is None or edge.node.came_by is not edge:
                continue
            if max_depth is None or edge.node.depth < max_depth:
                waiting.append((edge.node, below))
            elif edge.node.edges:
                below.add(Text(f"… {sum(1 for _ in _places_below(edge.node))} places below", style="dim"))
        unvisited = sum(not edge.visits and edge.error is None for edge in node.edges)
        if unvisited:
            branch.add(Text(f"… {unvisited} not tried", style="dim"))
    return root


def _line(edge: Edge, *, is_marked: bool) -> Text:
    line = Text(f"{'★ ' if is_marked else ''}{_short(edge.action.text, 60)}", style="bold green" if is_marked else "")
    facts = [f"visits {edge.visits}", f"mean {edge.mean:.2f}", f"prior {edge.prior:.2f}"]
    if edge.critique is not None:
        facts.append(f"critique {edge.critique:.2f}")
    node = edge.node
    if edge.error is not None:
        facts.append(f"failed: {_short(edge.error, 40)}")
    elif node is not None and node.is_over:
        facts.append(f"end, score {node.moment.trajectory().score:.2f}")
    elif node is not None and node.came_by is not edge:
        facts.append(f"leads to place {node.number}")
    return line.append("  " + "  ".join(facts), style="dim")


def _places_below(node: Node) -> Iterator[Node]:
    waiting = [node]
    while waiting:
        for edge in waiting.pop().edges:
            if edge.node is not None and edge.node.came_by is edge:
                waiting.append(edge.node)
                yield edge.node


def _summary(tree: Tree) -> Text:
    spent = tree.spent
    share = spent.fork_seconds / spent.seconds if spent.seconds else 0.0
    return Text(
        f"{spent.simulations} simulations, {len(tree.nodes)} places, {len(tree.endings())} endings, "
        f"{spent.env_steps} steps of the environment ({spent.replayed_steps} of them replayed), {spent.tokens} tokens, "
        f"{spent.seconds:.1f} s ({share:.1%} of it forking)"
        + (f"; stopped: {_short(tree.stopped, 300)}" if tree.stopped else "")
        + (f"; {_short(tree.error, 300)}" if tree.error and tree.error != tree.stopped else "")
    )


def _short(text: str, most: int) -> str:
    line = " ".join(printable(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"
