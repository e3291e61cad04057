"""What the lessons import: examples -> prompt -> scores or weights -> table -> figure."""

import os

# PyTorch's threads wait for each other by spinning. Beside any other busy program that makes a
# pass ten times slower, so let them sleep instead. It must be said before PyTorch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
