"""Small generated worlds with tools and state (`sparring/ToolWorld-v1`)."""
