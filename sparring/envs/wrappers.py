"""Wrappers that fit any text environment."""

from __future__ import annotations

from sparring.envs.base import Info, TextEnv, TextWrapper


class ShowExpert(TextWrapper):
    """Put the environment's own next expert action into `info["expert"]` (registered as `expert`).

    It is for scripted demonstrators and baselines: the expert may use everything the environment knows.
    Wrappers outside of it translate the action as they translate the policy's.
    """

    def view(self, text: str, info: Info) -> tuple[str, Info]:
        """Add the expert's action, except at the end of an episode, where there is none."""
        core = self.env.unwrapped
        assert isinstance(core, TextEnv)
        if "score" not in info:
            info = {**info, "expert": core.expert_action()}
        return text, info
