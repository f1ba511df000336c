"""Writes the tables into the documents, between two marks."""

from kit.sandbox import DrillFailed

BEGIN = "<!-- make bench-peers: begin -->"
END = "<!-- make bench-peers: end -->"


def update_docs(root, texts):
    """Replaces what is between the marks of each document."""
    for name, text in texts.items():
        path = root / name
        before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise DrillFailed(f"{name} has no place for the tables: {BEGIN} … {END}")
        path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
