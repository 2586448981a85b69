"""MiniGrid and BabyAI levels in words (`sparring/MiniGrid-v1`, `sparring/BabyAI-v1`; extra `minigrid`)."""
