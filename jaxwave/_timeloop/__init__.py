"""The loops over time, their derivatives, and the histories between them."""
