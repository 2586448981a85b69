"""Tools of a server that speaks the Model Context Protocol (`sparring/MCP-v1`; extra `mcp`)."""
