"""The shop as a web site: the text environment's visits as pages of HTML, for people and for agents in a browser.

| module | what it holds |
|---|---|
| `pages` | from a visit to HTML, and which links and buttons are on it, in order |
| `site` | addresses: each names a visit, and following a link acts on it |
| `serve` | the site on a port, for people |
"""
