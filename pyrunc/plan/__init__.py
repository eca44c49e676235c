"""Plans: the operations, and the compilers that emit them."""
