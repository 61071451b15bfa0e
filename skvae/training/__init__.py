"""Training: the plan of a fit, the skorch net, its batches and callbacks."""
