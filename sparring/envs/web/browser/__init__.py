"""Pages in a real Chromium.

| module | what it holds |
|---|---|
| `page` | `sparring/Browser-v1`: a page of one's own as an environment |
| `tasks`, `todo` | tasks of a page; those of the built-in to-do list |
| `env` | what all environments in a browser share |
| `actions`, `view`, `marks` | what an agent can say; what it sees, as text and on a screenshot |
| `session`, `tab` | a context with its tabs: acting, settling, looking |
| `pool`, `chromium` | the browsers of the process, and where Chromium is |
| `origins`, `limits` | what a page may load, and what it may cost |
| `page.js`, `determinism.js` | the scripts in the page: what is seen of it; its time and chance |
"""
