"""Stands for the package `encodings` in the launcher, until something else than UTF-8 is asked for.

The interpreter wants its codec before anything else, and for that loads `codecs` and hundreds of aliases: a
tenth of its start. Here is just the codec; what a codec has beside is taken from the real package.
"""

import _codecs


class IncrementalEncoder:
    def __init__(self, errors="strict"):
        self.errors = errors

    def encode(self, input, final=False):
        return _codecs.utf_8_encode(input, self.errors)[0]

    def reset(self):
        pass

    def getstate(self):
        return 0

    def setstate(self, state):
        pass


class IncrementalDecoder:
    def __init__(self, errors="strict"):
        self.errors = errors
        self.rest = b""

    def decode(self, input, final=False):
        data = self.rest + input
        text, used = _codecs.utf_8_decode(data, self.errors, final)
        self.rest = data[used:]
        return text

    def reset(self):
        self.rest = b""

    def getstate(self):
        return self.rest, 0

    def setstate(self, state):
        self.rest = state[0]


class CodecInfo(tuple):
    _is_text_encoding = True
    name = "utf-8"
    incrementalencoder = IncrementalEncoder
    incrementaldecoder = IncrementalDecoder

    def __getattr__(self, name):
        return getattr(search_all("utf_8"), name)


def search(name):
    if name in ("utf-8", "utf_8", "utf8"):
        return CodecInfo((_codecs.utf_8_encode, _codecs.utf_8_decode, None, None))
    return search_all(name)


def search_all(name):
    """Become the real package, and search there."""
    _codecs.unregister(search)
    path = f"{__path__[0]}/__init__.py"  # noqa: F821
    with __import__("_io").open_code(path) as file:
        exec(compile(file.read(), path, "exec"), globals())
    return search_function(name)  # noqa: F821


_codecs.register(search)
