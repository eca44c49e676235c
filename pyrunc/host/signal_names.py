"""Signals by name or number."""

from __future__ import annotations

from pyrunc.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal


def signal_number(text: str) -> int:
    """The number of a signal given as `SIGTERM`, `term`, `15` or `RTMIN+3`.

    Raises:
        UsageError: there is no such signal.
    """
    if text.isascii() and text.isdigit():
        number = int(text)
        if number < _signal.NSIG:
            return number
        raise UsageError(f"no signal has the number {text}: the highest is {_signal.NSIG - 1}")
    name = text.upper().removeprefix("SIG")
    base, sign, offset = name.partition("+" if "+" in name else "-")
    number = getattr(_signal, f"SIG{base}", 0) if base.isalnum() else 0
    if number and sign and base in ("RTMIN", "RTMAX") and offset.isascii() and offset.isdigit():
        number += int(sign + offset)
        if _signal.SIGRTMIN <= number <= _signal.SIGRTMAX:
            return number
    elif number and not sign:
        return int(number)
    raise UsageError(f'no signal is called "{text}": give a name such as TERM or KILL, or a number')
