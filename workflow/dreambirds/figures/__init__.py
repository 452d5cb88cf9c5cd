"""What people look at: the pictures of dreams, montages, films and curves."""
