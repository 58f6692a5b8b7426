"""XML from outside: no document type, so no entities; at most so deep."""

from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from weakpoints.errors import BadAnnotations

DEEPEST = 100  # elements in each other; who walks over them may go down one by one


def parse_xml(text: str | bytes, source: str) -> Element:
    """The outermost element. Raises BadAnnotations; of an entity nothing is read or expanded."""
    builder, depth = TreeBuilder(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise BadAnnotations(
                f"{source} has elements more than {DEEPEST} deep", limit=DEEPEST, actual=depth
            )
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*doctype: object) -> NoReturn:
        raise BadAnnotations(f"{source} has a document type (DOCTYPE), which is not read")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, refuse
    try:
        parser.Parse(text, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise BadAnnotations(f"{source} is not XML: {error}") from error
