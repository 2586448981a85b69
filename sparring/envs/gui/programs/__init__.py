"""Programs of the machine on a display of their own: how they are started, confined, watched and ended."""
