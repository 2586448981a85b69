"""Tree search over environments, and what it leaves behind for training."""
