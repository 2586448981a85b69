"""WebShop (Yao et al., 2022), exact and in pure Python.

| module | what it holds |
|---|---|
| `env` | the Gymnasium environment |
| `session`, `pages` | a visit and the function that moves it on; what a page shows and what can be clicked |
| `goals`, `splits`, `reward` | what is asked for, which goals are held out, what a purchase earns |
| `catalogue`, `products`, `index`, `analysis`, `porter` | the opened catalogue, its products, and search |
| `build`, `index_build`, `nouns` | compiling the original's files |
| `generate`, `words`, `phrasing`, `default` | made-up catalogues, and the one that is used when none is named |
| `expert`, `matching`, `renderers` | the oracle, and observation wrappers for small models |
| `simulator`, `recordings`, `conformance` | the original's interface, and the comparison with its recordings |
"""
