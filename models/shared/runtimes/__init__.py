"""Runtimes for ONNX graphs: the file of a graph enters, something that runs it on arrays leaves."""
