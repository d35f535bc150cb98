"""The part of an import that needs requirements-train.txt (torch, onnx); serving runs it as a process of its own."""
