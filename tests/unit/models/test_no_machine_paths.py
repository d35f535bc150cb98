"""Graphs that ship, or that tests keep, tell nothing of the machine they were exported on."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GRAPHS = sorted([*(ROOT / "models").rglob("*.onnx"), *(ROOT / "tests" / "fixtures").rglob("*.onnx")])


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_graph_holds_no_stack_trace(graph: Path) -> None:
    content = graph.read_bytes()
    assert [
        note for note in (b"stack_trace", b"site-packages", b'File "/', str(ROOT).encode()) if note in content
    ] == []
