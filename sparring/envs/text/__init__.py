"""Text worlds and games."""
