"""Pages, read without a browser."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a page holds: its elements with their attributes, and its text."""

    def __init__(self, path):
        """Read the page."""
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        """Take down an element."""
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        """Take down text."""
        self.text += data

    def all(self, tag) -> list[dict]:
        """Return the attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]
