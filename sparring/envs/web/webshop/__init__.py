"""WebShop, exact and in pure Python."""
