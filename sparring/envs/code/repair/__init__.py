"""Repositories with a bug, to be repaired from a shell (`sparring/RepositoryRepair-v1`)."""
