"""The library for programs that run containers; `import pyrunc` is its public face.

It wraps `pyrunc.container` and may import what it likes: commands do not load it.
"""
