"""How the product is shipped, shown and described; nothing of it is imported by app, operators or models."""
