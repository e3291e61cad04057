"""One experiment of a lesson in each module, on top of the helpers; the lessons name them."""
