"""What the lessons import: examples -> prompt -> scores or weights -> table -> figure."""

import os

# PyTorch's threads wait for each other by spinning. Beside any other busy program that makes a
# pass ten times slower, so let them sleep instead. But waking takes long too: training on an idle
# machine is half as fast again if they spin for a moment first. Both must be said before PyTorch
# is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
