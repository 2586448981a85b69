"""Tools to call: schemas, call styles, stateful worlds (`sparring/ToolWorld-v1`), BFCL and MCP servers."""
