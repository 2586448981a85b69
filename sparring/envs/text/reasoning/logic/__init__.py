"""From sentences to formulas, checked by models (`sparring/Logic-v1`)."""
