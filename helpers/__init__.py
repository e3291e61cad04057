"""The small package behind the lessons: examples -> prompt -> scores or weights -> table -> figure."""
