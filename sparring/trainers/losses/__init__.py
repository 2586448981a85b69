"""Losses and advantages as pure functions of tensors."""
