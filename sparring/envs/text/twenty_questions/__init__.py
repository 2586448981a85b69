"""Twenty Questions with an answerer of our own (`sparring/TwentyQuestions-v1`)."""

from sparring.envs.text.twenty_questions.env import TwentyQuestions

__all__ = ["TwentyQuestions"]
