"""A shopping cart: a list of (name, cents, count)."""

from .money import discounted, format_cents

Item = tuple[str, int, int]

FREE_SHIPPING_FROM = 5000
SHIPPING = 495


def subtotal(items: list[Item]) -> int:
    """What the items cost together."""
    total = 0
    for _, cents, count in items:
        total += cents * count
    return total


def shipping(items: list[Item]) -> int:
    """What sending costs: nothing for an empty cart or a dear one."""
    if not items or subtotal(items) >= FREE_SHIPPING_FROM:
        return 0
    return SHIPPING


def total(items: list[Item], percent: int) -> int:
    """What is to be paid, after a discount on the items alone."""
    return discounted(subtotal(items), percent) + shipping(items)


def receipt(items: list[Item]) -> list[str]:
    """A line for each item, dearest first, and the sum."""
    lines = []
    for name, cents, count in sorted(items, key=lambda item: (-item[1] * item[2], item[0])):
        if count > 0:
            lines.append(f"{count} x {name}: {format_cents(cents * count)}")
    lines.append(f"sum: {format_cents(subtotal(items))}")
    return lines
