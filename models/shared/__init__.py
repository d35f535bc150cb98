"""What training and serving share: DICOM to pixels, and coded concepts as data."""

import pydicom.config

# A misspelt keyword is otherwise set as a plain Python attribute and silently not written.
pydicom.config.INVALID_KEYWORD_BEHAVIOR = "RAISE"
