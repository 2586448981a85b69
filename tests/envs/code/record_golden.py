"""Rewrite `golden/*.json`, only after a deliberate change of behaviour: python tests/envs/code/record_golden.py"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.envs.code import test_functions
from tests.envs.code.repair import test_repair

if __name__ == "__main__":
    for tested in (test_functions, test_repair):
        tested.GOLDEN.parent.mkdir(exist_ok=True)
        tested.GOLDEN.write_text(json.dumps(tested.played(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
