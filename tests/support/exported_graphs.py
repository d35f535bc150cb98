"""The parity checkpoint enters; its graphs of chest films and chest CT leave, for tests without torch.

    python -m tests.support.exported_graphs OUT [--outside]

`--outside` writes one graph, with its weights in a file of their own.
"""

import sys
from pathlib import Path

from safetensors.torch import load_file

from models.encoder.nets import export
from models.encoder.nets.medreco import load_retrieval

FIXTURES = Path(__file__).parents[1] / "fixtures" / "medreco_parity"
SIDE_PX, TOP_K, CT_DEPTH = 80, 6, 20
FILMS, CHEST_CT = 1, 0


def main(arguments: list[str]) -> int:
    """Write the graphs; return the exit code."""
    out = Path(arguments[0])
    model = load_retrieval(load_file(FIXTURES / "retrieval.safetensors"), side_px=SIDE_PX)
    assert model.reranker is not None
    if "--outside" in arguments:
        export.EXTERNAL_ABOVE_BYTES = 0  # type: ignore[misc]
        export.export_reranker(model.reranker, out / "exported_cxr_rerank.onnx", router=FILMS, top_k=TOP_K)
        return 0
    films = (out / "exported_cxr_encoder.onnx", out / "exported_cxr_fusion.onnx")
    volumes = (out / "exported_ct_encoder.onnx", out / "exported_ct_fusion.onnx")
    export.export_retrieval(model, *films, router=FILMS)
    export.export_retrieval(model, *volumes, router=CHEST_CT, depth=CT_DEPTH)
    export.export_reranker(model.reranker, out / "exported_cxr_rerank.onnx", router=FILMS, top_k=TOP_K)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
