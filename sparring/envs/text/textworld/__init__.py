"""Generated text adventures of TextWorld (`sparring/TextWorld-v1`; extra `textworld`)."""
