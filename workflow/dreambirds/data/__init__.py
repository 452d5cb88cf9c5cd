"""Images for training: draw or read them, crop and resize, split, and list them."""
