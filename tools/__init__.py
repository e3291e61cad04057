"""What the authors of the course use; a learner never needs it."""
