"""Graphical interfaces: generated screens, data sets of screenshots, and a live desktop under Xvfb."""
