"""The results as a table for a terminal, and as a picture."""

from __future__ import annotations

from html import escape

from bench.results import OURS, Results, Row

_SUBJECTS = ("pyrunc", "runc", "crun", "bare kernel", "python3")
_COLOURS = {"pyrunc": "#2f6fde", "runc": "#9aa5b1", "crun": "#c9b27c", "bare kernel": "#d8dee6"}

#: The rows of the picture.
PICTURE = (
    "run",
    "run like Docker, filter cached",
    "create + start + state + delete",
    "exec",
    "200 runs by the library",
)


def figure(value: float | None) -> str:
    """A number with about three digits."""
    if value is None:
        return ""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio_to(row: Row, reference: str) -> str:
    """Ours to theirs."""
    ours, theirs = row.median(OURS), row.median(reference)
    return f"{ours / theirs:.2f}" if ours is not None and theirs else ""


def table(results: Results) -> str:
    """Medians, ratios, targets."""
    lines = [["", *_SUBJECTS, "to runc", "to crun", "target", ""]]
    for row in results.rows.values():
        verdict = results.verdict(row)
        judged = ["", ""]
        if verdict:
            value, target, met = verdict
            of = f" of {target.reference}" if target.reference else f" {row.unit}"
            judged = [f"{figure(value)} ≤ {target.limit:g}{of}", "met" if met else "missed"]
        name = f"{row.name}, {row.unit}" if row.unit else row.name
        medians = [figure(row.median(subject)) for subject in _SUBJECTS]
        lines.append([name, *medians, ratio_to(row, "runc"), ratio_to(row, "crun"), *judged])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    out = []
    for line in lines:
        first, *rest = line
        cells = [text.rjust(width) for text, width in zip(rest[:-2], widths[1:-2], strict=True)]
        out.append(
            "  ".join(
                [first.ljust(widths[0]), *cells, rest[-2].ljust(widths[-2]), rest[-1]]
            ).rstrip()
        )
    return "\n".join(out)


def picture(results: Results, caption: str) -> str:
    """Bars for the rows of PICTURE, each row scaled to its longest. An SVG."""
    bars: list[str] = []
    y = 34
    for name in PICTURE:
        row = results.rows.get(name)
        if row is None or row.median(OURS) is None:
            continue
        bars.append(f'<text x="0" y="{y}" class="row">{escape(name)}</text>')
        y += 8
        present = [(s, m) for s in _COLOURS if (m := row.median(s)) is not None]
        longest = max(median for _, median in present)
        for subject, median in present:
            width = 440 * median / longest
            bars.append(
                f'<rect x="90" y="{y}" width="{width:.1f}" height="13" fill="{_COLOURS[subject]}"/>'
                f'<text x="84" y="{y + 11}" class="who">{subject}</text>'
                f'<text x="{96 + width:.1f}" y="{y + 11}">{figure(median)} {row.unit}</text>'
            )
            y += 17
        y += 22
    style = (
        "text{font:12px sans-serif;fill:#444}.row{font-weight:bold;fill:#222}.who{text-anchor:end}"
        "@media(prefers-color-scheme:dark){text{fill:#bbb}.row{fill:#eee}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="{y}" viewBox="0 0 640 {y}">'
        f"<style>{style}</style>"
        f'<text x="0" y="12">{escape(caption)}</text>'
        f"{''.join(bars)}</svg>\n"
    )
