"""What others see in dreams: judges, measurements, and how sure they are."""
