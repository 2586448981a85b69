"""Guess My City with an answerer of our own (`sparring/GuessMyCity-v1`)."""

from sparring.envs.text.guess_my_city.env import GuessMyCity

__all__ = ["GuessMyCity"]
