"""One file per physics; :mod:`jaxwave.equations.base` says what the time loop asks of each."""
