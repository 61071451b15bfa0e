"""The model: its network, features, closed form, likelihoods and objective."""
