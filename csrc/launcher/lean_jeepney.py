"""Stands for the package jeepney in the launcher: it leaves out what that imports and no command needs."""
