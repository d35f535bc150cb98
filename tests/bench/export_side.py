"""A retrieval checkpoint enters; the graphs of the benchmarks' families leave. Needs torch.

python -m tests.bench.export_side CHECKPOINT BUNDLE FAMILY...
"""

import sys
from pathlib import Path

from safetensors.torch import load_file

from models.encoder.nets.export import export_reranker, export_retrieval
from models.encoder.nets.medreco import load_retrieval
from models.shared.vocabulary import load_vocabulary
from tests.bench.bundle import DEPTHS, graph_paths
from tests.bench.workload import SIDE_PX, TOP_K


def main(arguments: list[str]) -> int:
    """Export the graphs of each family into the bundle's folder; return the exit code."""
    checkpoint, bundle, *families = arguments
    model = load_retrieval(load_file(checkpoint), side_px=SIDE_PX)
    for family in families:
        router = load_vocabulary().router_index[family]
        paths = {name: Path(bundle) / path for name, path in graph_paths(family).items()}
        paths["encoder"].parent.mkdir(parents=True, exist_ok=True)
        export_retrieval(model, paths["encoder"], paths["fusion"], router=router, depth=DEPTHS[family])
        if model.reranker is not None:
            export_reranker(model.reranker, paths["rerank"], router=router, top_k=TOP_K)
        print(f"export: {family}", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
