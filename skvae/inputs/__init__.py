"""What comes in, as arrays of one form: signals, latents, targets."""
