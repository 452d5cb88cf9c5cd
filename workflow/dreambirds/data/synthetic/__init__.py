"""A training set drawn by code: `bird.draw_bird` draws one of the `species.SPECIES`."""
