"""Web environments."""
