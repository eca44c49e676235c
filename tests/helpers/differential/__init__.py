"""The same bundle under several runtimes: what a program inside sees, made comparable.

`dimensions` has the variants of each part of a config, `combine` makes configs of them, `runtimes`
runs one, `probe` tells what is seen inside, and `compare` finds what differs.
"""
