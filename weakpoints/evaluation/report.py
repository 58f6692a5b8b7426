"""Figures as text, and all studies as one HTML page that needs no network."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from weakpoints.evaluation.montage import COLUMNS

CHARTS = (
    "f1",
    "corrected_recall",
    "repeatability",
    "deletion",
    "insertion",
    "keypoints",
    "half_area",
    "stable",
)
WIDTH = 480  # pixels of the longest bar
LONG = {"behind_ours", "by_class", "by_layout", "interval"}  # too much for a terminal
PAIRED = {"differences", "by_set", "by_class"}  # of many methods: read them in the JSON
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem }
body { color-scheme: light dark }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
img { width: 100% }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #8885 }
th, td { white-space: pre; vertical-align: top }
th:first-child { text-align: left }
svg { font-size: 12px; fill: currentColor }
rect { fill: #4a8 }
path { stroke: currentColor; stroke-width: 2 }
tr.ours { font-weight: bold }
small { opacity: .7; font-weight: normal }
figure { margin: 1rem 0 }
"""


def flat(figures: Mapping[str, Any]) -> str:
    """A line a method: its numbers by name, those keyed by alpha in a row.

    Tables within follow under their name.
    """
    lines = []
    for title, table in tables(figures):
        for name, row in table.items():
            lines.append(
                f"{title + name:24} "
                + "  ".join(f"{key} {_cell(value)}" for key, value in row.items() if not _long(key))
            )
    return "\n".join(lines)


def tables(
    figures: Mapping[str, Any], title: str = ""
) -> Iterator[tuple[str, dict[str, Mapping[str, Any]]]]:
    """Each table within the figures: its title, and its rows by name.

    Single numbers are a row of one.
    """
    rows: dict[str, Mapping[str, Any]] = {}
    deeper: list[tuple[str, Mapping[str, Any]]] = []
    for name, value in figures.items():
        if name in PAIRED:
            continue
        if isinstance(value, list):
            rows |= {
                f"{name} {i + 1}": row if isinstance(row, Mapping) else {"": row}
                for i, row in enumerate(value)
            }
        elif not isinstance(value, Mapping):
            rows[name] = {"": value}
        elif any(
            isinstance(each, Mapping) and "points_per_image" in each for each in value.values()
        ):
            deeper.append((f"{title}{name}/", value))
        else:
            rows[name] = value
    yield title, rows
    for under, value in deeper:
        yield from tables(value, under)


def page(
    title: str,
    studies: Mapping[str, tuple[str, Mapping[str, Any]]],
    rows: Sequence[Mapping[str, Any]],
) -> str:
    """studies: by name, what it asks and its figures; rows: of `montage`."""
    parts = [f"<h1>{escape(title)}</h1>"]
    for name, (question, figures) in studies.items():
        parts.append(f"<h2>{escape(name)}</h2><p>{escape(question)}</p>")
        for under, table in tables(figures):
            parts += [
                _bars(under, figure, table)
                for figure in CHARTS
                if any(figure in row for row in table.values())
            ]
            parts.append(_table(under, table))
    if rows:
        parts.append(f"<h2>montage</h2><p>{escape(', '.join(COLUMNS))}</p>")
    for row in rows:
        data = base64.b64encode(row["png"]).decode()
        caption = escape(f"{row['name']}: {row['said']}")
        parts.append(
            f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<meta name="generator" content="weakpoints">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    return (
        f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'
    )


def _bars(title: str, figure: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A line a method: the figure as a bar, its interval as a whisker.

    Of figures keyed by alpha, the one at 0.1.
    """
    found = {
        name: (_at(row[figure]), _at(row["interval"][figure]))
        for name, row in rows.items()
        if figure in row.get("interval", {})
    }
    found = {
        name: (value, span)
        for name, (value, span) in found.items()
        if value is not None and span is not None
    }
    highest = max([1e-9, *(span[1] for _, span in found.values())])
    lines = []
    for i, (name, (value, span)) in enumerate(found.items()):
        y, (end, low, high) = 20 * i, (WIDTH * max(each, 0) / highest for each in (value, *span))
        lines.append(
            f'<text x="150" y="{y + 14}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="160" y="{y + 3}" width="{end:.1f}" height="14"/>'
            f'<path d="M{160 + low:.1f} {y + 10}H{160 + high:.1f}"/>'
            f'<text x="{170 + high:.1f}" y="{y + 14}">{value:.3f}</text>'
        )
    by_alpha = any(isinstance(row.get(figure), Mapping) for row in rows.values())
    caption = escape(f"{title}{figure}{' at 0.1' if by_alpha else ''}")
    svg = (
        f'<svg viewBox="0 0 {WIDTH + 230} {20 * len(found)}" width="{WIDTH + 230}" role="img" '
        f'aria-label="{caption}">{"".join(lines)}</svg>'
    )
    return f"<figure><figcaption>{caption}, with 95 % intervals</figcaption>{svg}</figure>"


def _at(value: Any) -> Any:
    return value["0.1"] if isinstance(value, Mapping) else value


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows with the same columns follow each other under one header."""
    lines, columns = [], None
    for name, row in rows.items():
        if list(row) != columns:
            columns = list(row)
            lines.append(
                "<tr><th></th>"
                + "".join(f"<th><small>{escape(key)}</small></th>" for key in columns)
                + "</tr>"
            )
        cells = "".join(f"<td>{escape(_named(value))}</td>" for value in row.values())
        mark = " class=ours" if name == "ours" else ""
        lines.append(f"<tr{mark}><th>{escape(title + name)}</th>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _long(key: str) -> bool:
    return key in LONG or key.endswith("_interval")


def _cell(value: Any) -> str:
    match value:
        case Mapping():
            return "/".join(map(_cell, value.values()))
        case [low, high]:
            return f"{_cell(low)} to {_cell(high)}"
        case float():
            return f"{value:.3f}"
        case None:
            return "-"
    return str(value)


def _named(value: Any) -> str:
    """A line for each entry, its name in front."""
    return (
        "\n".join(f"{key} {_named(each)}" for key, each in value.items())
        if isinstance(value, Mapping)
        else _cell(value)
    )
