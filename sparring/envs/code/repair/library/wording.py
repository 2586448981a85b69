"""Texts and words."""


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters; a longer word has a line of its own."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = line + " " + word if line else word
    if line:
        lines.append(line)
    return lines


def slug(title: str) -> str:
    """A title as part of an address: small letters and digits, joined by single hyphens."""
    letters = [letter.lower() if letter.isalnum() else " " for letter in title]
    return "-".join("".join(letters).split())


def shorten(text: str, width: int) -> str:
    """The text, cut to `width` characters with three dots where it is longer."""
    if len(text) <= width:
        return text
    if width < 3:
        return "." * width
    return text[: width - 3] + "..."


def most_common(text: str, count: int) -> list[str]:
    """The most frequent words, ties in alphabetical order."""
    seen: dict[str, int] = {}
    for word in text.lower().split():
        seen[word] = seen.get(word, 0) + 1
    ordered = sorted(seen, key=lambda word: (-seen[word], word))
    return ordered[:count]
