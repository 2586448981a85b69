"""Programming: functions written over several turns, and repositories to be repaired (docs/code.md)."""
