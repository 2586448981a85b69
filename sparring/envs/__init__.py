"""Environments, by family. `sparring envs` lists what is registered."""
