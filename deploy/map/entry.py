"""The packaged node's start: MONAI Deploy runs a folder, and this file becomes its __main__.py.

The node's processes start each other by `python -m app`, which looks in the current folder: so this one is made it.
Without arguments the node serves.
"""

import os
import runpy
import sys
from pathlib import Path

os.chdir(Path(__file__).resolve().parent)
if len(sys.argv) == 1:
    sys.argv.append("run")
runpy.run_module("app", run_name="__main__", alter_sys=True)
