"""The image encoder: images enter, tokens and per-entity readings leave. Serving modules here never import torch."""
