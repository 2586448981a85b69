"""MiniWoB++ in a real browser.

| module | what it holds |
|---|---|
| `env` | the environment |
| `tasks` | the package's tasks: how each is reset, which are left out |
| `experts` | scripted experts for some of them |
"""
