"""Problems with exact verifiers, each as an environment of self-correction: attempt, feedback, attempt."""
