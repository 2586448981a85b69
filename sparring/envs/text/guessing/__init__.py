"""Guessing games: find out by yes-no questions what the other has in mind.

`knowledge` holds what is true of what, `questions` understands questions about it, `answerers` answer them, `expert`
plays well, and `game` is the environment that `TwentyQuestions` and `GuessMyCity` fill with their knowledge.
"""
