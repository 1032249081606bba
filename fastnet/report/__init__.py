"""Report: what a training and a model have to show, as numbers, as pictures and as a page."""
