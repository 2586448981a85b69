"""Trainers: one readable file an algorithm."""
