"""Programs that run inside a sandbox, by themselves: they import nothing of sparring."""
