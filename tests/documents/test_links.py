"""Every link within the repository leads somewhere."""

import pytest

from tests.documents.markdown import ROOT, anchors, blocks, documents, links

BLOB = "https://github.com/aws-iam-key-exporter/aws-iam-key-exporter/blob/main/"
LANGUAGES = {
    *("sh", "console", "text", "promql", "sql"),
    *("yaml", "json", "toml", "ini", "hcl", "dockerfile", "python", "go-template", "mermaid"),
}


def broken(document: str) -> list[str]:
    """Return the links of *document* whose file or heading does not exist."""
    found = []
    for link in links(document):
        if link.startswith(BLOB):
            base, target = ROOT, link.removeprefix(BLOB)
        elif link.startswith(("http://", "https://", "mailto:")):
            continue
        else:
            base, target = (ROOT / document).parent, link
        name, _, anchor = target.partition("#")
        file = base / name if name else ROOT / document
        if not file.exists() or (
            anchor
            and file.suffix == ".md"
            and anchor not in anchors(str(file.resolve().relative_to(ROOT)))
        ):
            found.append(link)
    return found


@pytest.mark.parametrize("document", documents())
def test_links_resolve(document: str) -> None:
    """Each link and picture of the document names a file, and a heading, that exist."""
    assert broken(document) == []


@pytest.mark.parametrize("document", documents())
def test_blocks_name_their_language(document: str) -> None:
    """Each fenced block of code says what it is, so that tests know what to do with it."""
    assert {block.language for block in blocks(document)} <= LANGUAGES


def test_every_page_is_linked() -> None:
    """README.md leads to each page of docs/, directly."""
    pages = {document for document in documents() if document.startswith("docs/")}

    assert pages <= {link.partition("#")[0] for link in links("README.md")}
