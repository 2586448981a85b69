"""Amounts of money, in cents."""


def to_cents(text: str) -> int:
    """The cents of an amount such as "12.5" or "-0.99"."""
    sign = -1 if text.startswith("-") else 1
    whole, _, part = text.lstrip("+-").partition(".")
    part = (part + "00")[:2]
    return sign * (int(whole or "0") * 100 + int(part))


def format_cents(cents: int) -> str:
    """An amount as text: 1250 is "12.50"."""
    sign = "-" if cents < 0 else ""
    whole, part = divmod(abs(cents), 100)
    return f"{sign}{whole}.{part:02d}"


def split_evenly(cents: int, people: int) -> list[int]:
    """Shares that differ by at most a cent, the greater ones first."""
    share, rest = divmod(cents, people)
    return [share + 1 if number < rest else share for number in range(people)]


def discounted(cents: int, percent: int) -> int:
    """The price after a discount, which is rounded down to whole cents."""
    if percent <= 0:
        return cents
    if percent >= 100:
        return 0
    return cents - cents * percent // 100
