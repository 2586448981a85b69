"""The Berkeley Function Calling Leaderboard as an environment (`sparring/BFCL-v1`; extra `bfcl`)."""
