"""The dream job: everything around the pure dreamer, such as its files, its cache and its memory."""
