"""What the lessons import: examples -> prompt -> scores or weights -> table -> figure."""
