"""Small Tk applications that the desktop environment runs, in a process of their own."""
