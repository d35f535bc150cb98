"""TensorRT on a GPU: graphs enter, engines built and kept on this machine leave.

Nothing of it has been run on a GPU; all that leads up to the engine is tested without one (deploy/docs/gpu.md). The
module tensorrt is imported only after `probe` has found a GPU: without one its runtime ends the whole process instead
of raising.
"""
