"""Small notations."""


def fields(line: str) -> list[str]:
    """The fields of a line with commas; in double quotes a comma is text, and two quotes are one."""
    found, field, quoted = [], "", False
    at = 0
    while at < len(line):
        letter = line[at]
        if letter == '"':
            if quoted and line[at + 1 : at + 2] == '"':
                field += letter
                at += 1
            else:
                quoted = not quoted
        elif letter == "," and not quoted:
            found.append(field)
            field = ""
        else:
            field += letter
        at += 1
    return [*found, field]


def seconds(text: str) -> int:
    """The seconds of a duration such as "1h30m" or "45s"."""
    total, number = 0, 0
    for letter in text:
        if letter.isdigit():
            number = number * 10 + int(letter)
        else:
            total += number * {"h": 3600, "m": 60, "s": 1}.get(letter, 0)
            number = 0
    return total


def balanced(text: str) -> bool:
    """Whether brackets of three kinds are closed in the right order."""
    pairs = {")": "(", "]": "[", "}": "{"}
    opened: list[str] = []
    for letter in text:
        if letter in pairs.values():
            opened.append(letter)
        elif letter in pairs and (not opened or opened.pop() != pairs[letter]):
            return False
    return not opened


def pages(text: str) -> list[int]:
    """The numbers of a list such as "1-3,7", in order and once each."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.strip():
            found.update(range(int(first), int(last or first) + 1))
    return sorted(found)
