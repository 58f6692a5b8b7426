"""Figures as text, and all studies as one HTML page that needs no network."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from app.evaluation.montage import COLUMNS

LONG = {"behind_ours", "by_class", "interval"}  # too much for a terminal
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light dark }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto } img { width: 100% }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #8885; white-space: pre; vertical-align: top } th:first-child { text-align: left }
tr.ours { font-weight: bold } small { opacity: .7; font-weight: normal } figure { margin: 1rem 0 }
"""


def flat(figures: Mapping[str, Any]) -> str:
    """A line a method: its numbers by name, those keyed by alpha in a row. Tables within follow under their name."""
    lines = []
    for title, table in tables(figures):
        for name, row in table.items():
            lines.append(f"{title + name:24} " + "  ".join(f"{key} {_cell(value)}" for key, value in row.items() if not _long(key)))
    return "\n".join(lines)


def tables(figures: Mapping[str, Any], title: str = "") -> Iterator[tuple[str, dict[str, Mapping[str, Any]]]]:
    """Each table within the figures, its title and its rows by name; single numbers are a row of one."""
    rows: dict[str, Mapping[str, Any]] = {}
    deeper: list[tuple[str, Mapping[str, Any]]] = []
    for name, value in figures.items():
        if isinstance(value, list):
            rows |= {f"{name} {i + 1}": row for i, row in enumerate(value)}
        elif not isinstance(value, Mapping):
            rows[name] = {"": value}
        elif any(isinstance(each, Mapping) and "points_per_image" in each for each in value.values()):
            deeper.append((f"{title}{name}/", value))
        else:
            rows[name] = value
    yield title, rows
    for under, value in deeper:
        yield from tables(value, under)


def study(path: Path, asked: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The figures kept at `path` if they are of what is asked, else measured and kept: an interrupted report goes on where it stopped."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    if kept.get("asked") == asked:
        return dict(kept["figures"])
    figures = measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps({"asked": asked, "figures": figures}, indent=1) + "\n")
    partial.replace(path)
    return figures


def page(title: str, studies: Mapping[str, tuple[str, Mapping[str, Any]]], rows: Sequence[Mapping[str, Any]]) -> str:
    """studies: by name, what it asks and its figures; rows: of `montage`."""
    parts = [f"<h1>{escape(title)}</h1>"]
    for name, (question, figures) in studies.items():
        parts.append(f"<h2>{escape(name)}</h2><p>{escape(question)}</p>")
        parts += [_table(under, table) for under, table in tables(figures)]
    parts.append(f"<h2>montage</h2><p>{escape(', '.join(COLUMNS))}</p>")
    for row in rows:
        data = base64.b64encode(row["png"]).decode()
        caption = escape(f"{row['name']}: {row['said']}")
        parts.append(f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>')
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows with the same columns follow each other under one header."""
    lines, columns = [], None
    for name, row in rows.items():
        if list(row) != columns:
            columns = list(row)
            lines.append("<tr><th></th>" + "".join(f"<th><small>{escape(key)}</small></th>" for key in columns) + "</tr>")
        cells = "".join(f"<td>{escape(_named(value))}</td>" for value in row.values())
        lines.append(f"<tr{' class=ours' if name == 'ours' else ''}><th>{escape(title + name)}</th>{cells}</tr>")
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
    return "\n".join(f"{key} {_named(each)}" for key, each in value.items()) if isinstance(value, Mapping) else _cell(value)
