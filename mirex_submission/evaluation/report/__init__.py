"""An evaluation as one page of HTML."""
