"""Policies: from prompts to actions, in batches."""
