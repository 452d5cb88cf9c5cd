"""Parsing of HTML pages without a browser."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """The content of a page: its elements with their attributes, and its text."""

    def __init__(self, path):
        """Parse the page at `path`."""
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        """Record an element."""
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        """Record text."""
        self.text += data

    def all(self, tag) -> list[dict]:
        """Return the attributes of all elements with a tag."""
        return [attributes for name, attributes in self.elements if name == tag]
